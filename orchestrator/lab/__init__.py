"""A fleet of local SSH hosts to try everything on.

One background process serves every host: a real SSH server on a port of 127.0.0.1, with its own
host key, home and simulated hardware. Commands run for real, in `/bin/sh`, as the operator.

```
cli/lab ─► fleet (up, down, status, break, mend) ──control port──► daemon ─► server ─► /bin/sh
             ├─ hosts, identities: which hosts, what they pretend            └─ link: slow, cut
             └─ inventory_file: inventory/lab.yml and known_hosts
```
"""

from __future__ import annotations

import os

# ONNX Runtime reports to its makers from 1.29 on, unless told otherwise before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
