"""Making hosts ready for releases with Ansible: `orchestrate provision`.

Ansible does the work, by the playbooks of the fleet project; this package tells it what each host
needs (`variables.py`), runs it (`ansible.py`) and reads what happened (`progress.py`).
"""
