#!/usr/bin/env bash
# codes.sh: one-time codes beside a password and beside a key, with OpenSSH,
# PuTTY and paramiko. Each client has a user of its own, because a code is good
# once: the users openssh, plink and paramiko share key, password and TOTP_SECRET.
. "$(dirname "$0")/lib.sh"

# code PERIODS: the code so many periods from now. A server that has just started
# takes the next one only.
code() {
	/usr/bin/python3 - "$TOTP_SECRET" "$1" <<-'PY'
		import base64, hashlib, hmac, struct, sys, time
		counter = int(time.time()) // 30 + int(sys.argv[2])
		sum = hmac.new(base64.b32decode(sys.argv[1]), struct.pack(">Q", counter), hashlib.sha1).digest()
		at = sum[19] & 15
		print("%06d" % ((struct.unpack(">I", sum[at:at + 4])[0] & 0x7FFFFFFF) % 1000000))
	PY
}

# dialogue PASSWORD CODE COMMAND...: answers what a client asks on its terminal.
dialogue() {
	expect -f - -- "$@" <<-'EXPECT'
		set timeout 60
		set command [lassign $argv password code]
		spawn -noecho {*}$command
		expect {
			-re {assword: *$} { send -- "$password\r"; exp_continue }
			-re {code: *$} { send -- "$code\r"; exp_continue }
			timeout { exit 98 }
			eof {}
		}
		lassign [wait] pid id err status
		exit $status
	EXPECT
}

by_password=(ssh -F "$ssh_config" -o BatchMode=no -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 openssh@target whoami)
by_key=(ssh -F "$ssh_config" -o BatchMode=no openssh@target whoami)
plink=("$(type -P plink)" -no-antispoof -hostkey "$fingerprint" -P "$PORT" -l plink "$HOST" whoami)

ok "openssh, wrong code" not dialogue "$SFTP_PASS" 12345 "${by_password[@]}"
ok "openssh, wrong password" not dialogue wrong "$(code 1)" "${by_password[@]}"
ok "openssh, key and wrong code" not dialogue none 12345 "${by_key[@]}"
ok "openssh, password and code" dialogue "$SFTP_PASS" "$(code 1)" "${by_password[@]}"
ok "plink, password and code" dialogue "$SFTP_PASS" "$(code 1)" "${plink[@]}"
ok "plink, wrong code" not dialogue "$SFTP_PASS" 12345 "${plink[@]}" # it asks again, until the shield closes
ok "paramiko" /usr/bin/python3 -W ignore "$here/codes/paramiko-codes.py" "$key" "$(code 1)"
# The code that openssh used is over by then.
sleep $((31 - $(date +%s) % 30))
ok "openssh, key and code" dialogue none "$(code 1)" "${by_key[@]}"
summary
