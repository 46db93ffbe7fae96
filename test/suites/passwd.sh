#!/usr/bin/env bash
# passwd.sh: people change their password with `ssh -t HOST passwd`, from
# OpenSSH and from PuTTY's plink, and in the login when it must be changed, in the
# method "password" and nothing else. The users openssh, plink, asyncssh and paramiko
# must change it. The user's password is another one afterwards.
. "$(dirname "$0")/lib.sh"

second=Second-Pass-88 third=Third-Pass-99

# login PASSWORD: logs in with it, and with nothing else.
login() {
	SSHPASS=$1 sshpass -e sftp -q -F "$ssh_config" -o BatchMode=no -o PubkeyAuthentication=no \
		-o NumberOfPasswordPrompts=1 -b /dev/stdin target <<<"ls $remote"
}

# change COMMAND OLD NEW CONFIRM: answers what passwd asks; the status is that
# of the command. The terminal is kept, to see that nothing was echoed.
change() {
	expect -c "
		set timeout 20
		eval spawn -noecho $1
		foreach {prompt answer} {Current $2 New $3 Confirm $4} {
			expect {
				-re \"\$prompt\\[^\\n\\]*password: \\\$\" { send -- \"\$answer\\r\" }
				timeout { exit 98 }
				eof { exit 99 }
			}
		}
		expect { eof {} timeout { exit 98 } }
		lassign [wait] pid id err status
		exit \$status" | tee -a "$work/terminal"
	return "${PIPESTATUS[0]}"
}
by_key="ssh -tt -F $ssh_config target passwd"
by_password="plink -batch -t -hostkey $fingerprint -P $PORT -pw $second $SFTP_USER@$HOST passwd"

ok "the password logs in" login "$SFTP_PASS"
ok "wrong current password: refused" not change "$by_key" wrong "$second" "$second"
ok "mismatched confirmation: refused" not change "$by_key" "$SFTP_PASS" "$second" "other-$second"
ok "the old password still works" login "$SFTP_PASS"
ok "ssh -t passwd, logged in by key" change "$by_key" "$SFTP_PASS" "$second" "$second"
ok "the new password logs in" login "$second"
ok "the old password does not" not login "$SFTP_PASS"
ok "plink -t passwd, logged in by password" change "$by_password" "$second" "$third" "$third"
ok "the third password logs in" login "$third"

# in_login USER COMMAND...: answers what a client asks on its terminal in a login by
# password: the old one as often as it wants, then a new one.
in_login() {
	user=$1 old=$SFTP_PASS new=$third expect -f - -- "${@:2}" <<-'EXPECT' | tee -a "$work/terminal"
		set timeout 30
		spawn -noecho {*}$argv
		expect {
			-nocase -re {new password[^\n]*: *$} { send -- "$env(new)\r"; exp_continue }
			-nocase -re {(old|current) password[^\n]*: *$} { send -- "$env(old)\r"; exp_continue }
			-nocase -re {password: *$} { send -- "$env(old)\r"; exp_continue }
			timeout { exit 98 }
			eof {}
		}
		lassign [wait] pid id err status
		exit $status
	EXPECT
	return "${PIPESTATUS[0]}"
}
only_password=(-o PreferredAuthentications=password -o PubkeyAuthentication=no)
mkdir -p "$HOME/.putty/sessions"
printf 'AuthKI=0\nHostName=%s\nPortNumber=%s\nProtocol=ssh\n' "$HOST" "$PORT" >"$HOME/.putty/sessions/site"
echo "ls $remote" >"$work/batch"

# must USER CLIENT: the user has chosen a new password, and goes by it.
must() {
	ok "$2: must change it, in the login by password" in_login "$1" "${@:3}"
	ok "$2: the new password logs in" env SSHPASS="$third" sshpass -e sftp -q -F "$ssh_config" -o BatchMode=no "${only_password[@]}" \
		-o NumberOfPasswordPrompts=1 -b "$work/batch" "$1@target"
}
must openssh OpenSSH sftp -F "$ssh_config" -o BatchMode=no "${only_password[@]}" -b "$work/batch" openssh@target
must plink psftp psftp -load site -hostkey "$fingerprint" -l plink -b "$work/batch"
cat >"$work/by-asyncssh.py" <<'PY'
import asyncio, os, sys, asyncssh
old, new = sys.argv[1:]
class Client(asyncssh.SSHClient):
    def password_change_requested(self, prompt, lang):
        return old, new
async def main():
    conn, _ = await asyncssh.create_connection(Client, os.environ["HOST"], int(os.environ["PORT"]), username="asyncssh",
        password=old, known_hosts=None, client_keys=None, preferred_auth="password")
    async with conn.start_sftp_client() as sftp:
        await sftp.listdir(".")
asyncio.run(main())
PY
must asyncssh asyncssh /usr/bin/python3 -W ignore "$work/by-asyncssh.py" "$SFTP_PASS" "$third"
# A client that cannot change it there is let in for passwd, as before.
cat >"$work/by-paramiko.py" <<'PY'
import os, sys, paramiko
t = paramiko.Transport((os.environ["HOST"], int(os.environ["PORT"])))
t.start_client(timeout=20)
t.auth_password("paramiko", sys.argv[1], fallback=False)
try:
    paramiko.SFTPClient.from_transport(t)
    sys.exit("files were shown")
except (EOFError, OSError, paramiko.SSHException):
    t.close()
PY
ok "paramiko: restricted" /usr/bin/python3 -W ignore "$work/by-paramiko.py" "$SFTP_PASS"
ok "the terminal was told what happened" grep -q "successfully updated" "$work/terminal"
ok "no password was echoed" not grep -qE -- "$SFTP_PASS|$second|$third" "$work/terminal"
summary
