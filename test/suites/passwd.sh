#!/usr/bin/env bash
# passwd.sh: people change their password with `ssh -t HOST passwd`, from
# OpenSSH and from PuTTY's plink. The user's password is another one afterwards.
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
ok "the terminal was told what happened" grep -q "successfully updated" "$work/terminal"
ok "no password was echoed" not grep -qE -- "$SFTP_PASS|$second|$third" "$work/terminal"
summary
