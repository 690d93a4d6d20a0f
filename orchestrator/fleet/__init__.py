"""What the operator wrote and what the hosts are: settings, inventory, facts."""
