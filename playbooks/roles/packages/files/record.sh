sed -un s/^processing:.install:.//p >>/var/lib/orchestrate/packages
