# Programs that keep trees: lftp, rclone, restic, and sshfs with git on it.
clients+=(lftp rclone restic sshfs)

lftp_do() {
	command lftp -c "set sftp:connect-program \"ssh -a -x -F $ssh_config\";
		set net:max-retries 1; set net:timeout 20; open sftp://target; $1"
}
lftp() {
	ok "mirror -R" lftp_do "mirror -R --parallel=3 $S $R/m"
	ok "tree" diff -r "$S" "$D/m"
	ok "mirror" lftp_do "mirror --parallel=3 $R/m $O/m"
	ok "tree got" diff -r "$S" "$O/m"
	ok "pget" lftp_do "pget -n 4 $R/m/big -o $O/big"
	ok "content got" back big
	ok "rm -r" lftp_do "rm -r $R/m"
	ok "is gone" not test -e "$D/m"
}

rclone_do() {
	command rclone --config /dev/null --sftp-host "$HOST" --sftp-port "$PORT" \
		--sftp-user "$SFTP_USER" --sftp-key-file "$key" "$@"
}
rclone() {
	ok "copy" rclone_do copy "$S" ":sftp:$R/x"
	ok "check --download" rclone_do check --download "$S" ":sftp:$R/x"
	ok "sync with what is there" rclone_do sync "$S" ":sftp:$R/x"
	ok "copy back" rclone_do copy ":sftp:$R/x" "$O/x"
	ok "tree got" diff -r "$S" "$O/x"
	ok "about" rclone_do about ":sftp:$R"
	ok "purge" rclone_do purge ":sftp:$R/x"
}

restic_do() {
	RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$work/restic command restic -q \
		-o sftp.command="ssh -F $ssh_config -s target sftp" -r "sftp:target:$R/repo" "$@"
}
restic() {
	ok "init" restic_do init
	ok "backup" restic_do backup "$S"
	ok "backup again" restic_do backup "$S"
	ok "check --read-data" restic_do check --read-data
	ok "restore" restic_do restore latest --target "$O"
	ok "tree got" diff -r "$S" "$O$S"
	ok "forget --prune" restic_do forget --keep-last 1 --prune
}

sshfs() {
	mnt=$work/mnt
	mkdir "$mnt"
	ok "mount" command sshfs -F "$ssh_config" "target:$R" "$mnt"
	ok "copy" cp -r "$S/." "$mnt/s"
	# close(2) on a mount does not wait for the server's CLOSE, at which an atomic
	# upload gets its name; but what is asked on it afterwards is answered after that.
	ok "tree seen through it" diff -r "$S" "$mnt/s"
	ok "tree" diff -r "$S" "$D/s"
	ok "append" shell 'cat "$1" >>"$2" && [ $(stat -c %s "$2") = 33334 ]' "$S/one" "$mnt/s/mid"
	ok "truncate" shell 'truncate -s 10 "$1" && [ $(stat -c %s "$1") = 10 ]' "$mnt/s/big"
	ok "rename over" shell 'mv "$1" "$2" && [ $(stat -c %s "$2") = 33334 ]' "$mnt/s/mid" "$mnt/s/one"
	ok "git init, commit, fsck" shell 'git config --global --add safe.directory "*" &&
		git init -q "$1" && cd "$1" && cp -r "$2" . && git add . &&
		git -c user.name=x -c user.email=x@example.org commit -qm x && git fsck' "$mnt/g" "$S/tree"
	ok "1,500 random operations" /usr/bin/python3 "$here/clients/fsx.py" "$mnt/fsx" "$work/fsx"
	ok "df" df "$mnt"
	ok "rm -r" rm -r "$mnt/s" "$mnt/g"
	ok "unmount" fusermount3 -u "$mnt"
	fusermount3 -qzu "$mnt" 2>/dev/null
}
