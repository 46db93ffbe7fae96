# harness.sh OBJ SCRIPT RESULTS: stands in for test-exec.sh of OpenSSH's tests.
# It defines what the scripts use, reads one, and adds for every case in it a
# line "ok   SCRIPT: CASE" or "FAIL SCRIPT: CASE" to RESULTS, the latter with
# what was said. Cases that match LOCAL are left out.

# What the scripts use.
OBJ=$1 SCRIPT=$2
SRC=$(dirname "$SCRIPT") SID=$(basename "$SCRIPT" .sh)
DATANAME=data DATA=$OBJ/data COPY=$OBJ/copy
EXEEXT= SUDO= TEST_SHELL=sh
SSH=$OBJ/ssh SFTP=sftp SCP=scp SFTPSERVER=$SFTP_SERVER

# Ours has names of its own: the scripts have many. A case begins with its
# name, and ends where the next begins.
our_results=$3 our_said=$3.said our_verdict= our_case="at its beginning"
exec >>"$our_said" 2>&1
end_case() {
	if [ -n "$our_verdict" ] && ! echo "$SID: $our_case" | grep -qE "$LOCAL"; then
		printf '%-4s %s: %s\n' "$our_verdict" "$SID" "$our_case" >>"$our_results"
		[ $our_verdict = ok ] || tail -n 20 "$our_said" | cat -v | sed 's/^/     /' >>"$our_results"
	fi
	our_verdict=
	: >"$our_said"
}
verbose() {
	end_case
	our_case=$* our_verdict=ok
}
fail() {
	our_verdict=FAIL
	echo "$*"
}
fatal() {
	fail "$*"
	end_case
	exit 1
}
skip() { fatal "skipped: $*"; } # nothing that a script needs may be missing
warn() { echo "warning: $*"; }
trace() { :; }
debug() { :; }

config_defined() { return 1; }
maybe_add_scp_path_to_sshd() { :; }
start_sshd() { :; }
stop_sshd() { :; }
increase_datafile_size() { dd if=/dev/urandom of="$DATA" bs=1024 count="$1"; }
make_tmpdir() { SSH_REGRESS_TMP=$(mktemp -d -p "$OBJ"); }

. "$SCRIPT"
end_case
