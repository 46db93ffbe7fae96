# lib.sh is what the suites share. A suite sources it. It reads from the
# environment which server is under test,
#
#	HOST PORT SFTP_USER SFTP_PASS  where it is, and who may log in
#	SFTP_KEY                       file with a private key of that user
#	REMOTE_DIR                     a directory in which that user may do all
#	LOCAL_ROOT                     the same directory on this machine's disk
#
# and makes a directory of its own there and one for its work:
#
#	remote, disk  its directory as the client and as the disk see it
#	work          private, goes away with the suite
#	ssh_config    for OpenSSH's programs: host "target" is the server
#
# A suite prints a line for each case, "ok   NAME" or "FAIL NAME" and what was
# said, indented; its last line is "PASSED/TOTAL passed".

set -u
for v in HOST PORT SFTP_USER SFTP_KEY SFTP_PASS REMOTE_DIR LOCAL_ROOT; do
	[ -n "${!v:-}" ] || { echo "FAIL $v is not set"; exit 2; }
done

suite=$(basename "$0" .sh)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/suite-$suite.XXXXXX")
disk=$LOCAL_ROOT/$suite-$$
remote=${REMOTE_DIR%/}/$suite-$$
mkdir "$disk"
trap 'cd /; rm -rf "$work" "$disk"' EXIT

# No program of a suite sees the home of whoever runs it.
export HOME=$work/home USER=$SFTP_USER LOGNAME=$SFTP_USER
mkdir -m 700 "$HOME" "$HOME/.ssh"
key=$work/key
install -m 600 "$SFTP_KEY" "$key"
ssh-keygen -y -f "$key" >"$key.pub"
ssh-keyscan -T 10 -p "$PORT" "$HOST" >"$work/known_hosts" 2>/dev/null
cp "$work/known_hosts" "$HOME/.ssh/"
fingerprint=$(ssh-keygen -l -f "$work/known_hosts" | awk '/ED25519/ {print $2}')

ssh_config=$work/ssh_config
cat >"$ssh_config" <<EOF
Host *
	HostName $HOST
	Port $PORT
	User $SFTP_USER
	IdentityFile $key
	IdentitiesOnly yes
	BatchMode yes
	StrictHostKeyChecking yes
	UserKnownHostsFile $work/known_hosts
	GlobalKnownHostsFile /dev/null
	LogLevel ERROR
	ConnectTimeout 15
EOF
cp "$ssh_config" "$HOME/.ssh/config"

passed=0 total=0

# ok NAME COMMAND...: a case that passes when the command does.
ok() {
	total=$((total + 1))
	if "${@:2}" >"$work/said" 2>&1 </dev/null; then
		passed=$((passed + 1))
		echo "ok   $1"
	else
		echo "FAIL $1"
		tail -n 20 "$work/said" | cat -v | sed 's/^/     /'
	fi
}

# not COMMAND...: passes when the command fails.
not() { ! "$@"; }

# shell SCRIPT [ARGUMENT...]: for cases of more than one command.
shell() { bash -uc "$1" shell "${@:2}"; }

# summary is the end of a suite.
summary() {
	echo "$passed/$total passed"
	[ "$total" -gt 0 ] && [ "$passed" -eq "$total" ]
	exit
}
