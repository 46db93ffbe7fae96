#!/usr/bin/env bash
# regress.sh: the scripts about sftp and scp of OpenSSH's own regression tests,
# unchanged, as Debian has them in openssh-tests. They compare what a client
# names with the local disk, so REMOTE_DIR must be LOCAL_ROOT: the server shows
# the directory under the path that it has on the disk.
. "$(dirname "$0")/lib.sh"
[ "$remote" = "$disk" ] || { echo "FAIL REMOTE_DIR is not LOCAL_ROOT"; exit 2; }

# Cases in which no server takes part do not count.
export LOCAL="disallow bad server|local (file|dir) to local|: (lls|lpwd|lmkdir|lcd|lchdir|shell|quit|help|lls w/path)$"

# The scripts find their helpers beside them: a copy of the folder, with a
# wrapper that leads to the server under test in place of theirs.
export ORIGINAL=/usr/lib/openssh/regress SSH_CONFIG=$ssh_config
mkdir "$work/scripts"
install -m 755 "$here/regress/scp-wrapper.sh" "$work/scripts/scp-ssh-wrapper.sh"

# sftp -D starts this in place of a server of its own.
export SFTP_SERVER=$work/sftp-server
printf '#!/bin/sh\nexec ssh -F %s -s target sftp\n' "$ssh_config" >"$SFTP_SERVER"
chmod 755 "$SFTP_SERVER"

for script in sftp sftp-cmds sftp-badcmds sftp-batch sftp-glob sftp-uri scp scp-uri scp3; do
	ln -s "$ORIGINAL/$script.sh" "$work/scripts/"
	obj=$disk/$script
	mkdir "$obj"
	cd "$obj"
	head -c 350000 /dev/urandom >data
	cp "$ssh_config" ssh_config
	cp "$ssh_config" ssh_proxy
	printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$ssh_config" >ssh
	chmod 755 ssh
	timeout 120 sh "$here/regress/harness.sh" "$obj" "$work/scripts/$script.sh" "$work/results" </dev/null ||
		echo "FAIL $script: ended with status $?" >>"$work/results"
done

cat "$work/results"
passed=$(grep -c '^ok ' "$work/results")
total=$(grep -cE '^(ok|FAIL) ' "$work/results")
summary
