#!/bin/sh
echo '{"pis": {"hosts": ["pi-1", "pi-2"], "vars": {"v": 1}}, "up": {"children": ["pis"]}, "_meta": {"hostvars": {"pi-1": {"x": 2}}}}'
