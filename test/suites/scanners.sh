#!/usr/bin/env bash
# scanners.sh: what security scanners say: ssh-audit, nmap's scripts, hydra with
# wrong passwords; and that a login works after them.
. "$(dirname "$0")/lib.sh"

ssh-audit -n -p "$PORT" "$HOST" >"$work/audit" 2>&1
# It fails every NIST curve, which OpenSSH offers too.
grep -F '[fail]' "$work/audit" | grep -v 'weak elliptic curves' >"$work/audit-fails"
ok "ssh-audit: ran" grep -q 'key exchange' "$work/audit"
ok "ssh-audit: fails no algorithm but NIST curves" not grep . "$work/audit-fails"

# Debian's ssh-audit is older than the Terrapin attack, so that is looked for in
# the lists of algorithms.
lists=$work/algorithms
nmap -Pn -n -p "$PORT" --script +ssh2-enum-algos "$HOST" >"$lists" 2>&1
weak='ssh-dss|3des|arcfour|-cbc|hmac-md5|hmac-sha1-96|diffie-hellman-group1-|group-exchange-sha1'
ok "nmap: lists algorithms" grep -q kex_algorithms "$lists"
ok "nmap: strict key exchange, against Terrapin" grep -q kex-strict-s-v00@openssh.com "$lists"
ok "nmap: no weak algorithm" not grep -E "$weak" "$lists"
ok "nmap: a host key of today" grep -qE 'rsa-sha2-(256|512)|ssh-ed25519' "$lists"

# methods USER: what the server offers to a user.
methods() {
	nmap -Pn -n -p "$PORT" --script +ssh-auth-methods --script-args "ssh.user=$1" "$HOST" |
		sed -n '/Supported/,/^$/p' | grep '|'
}
methods "$SFTP_USER" >"$work/methods"
methods no-such-user >"$work/methods-of-nobody"
ok "nmap: public key and password" shell 'grep -q publickey "$1" && grep -q password "$1"' "$work/methods"
ok "nmap: the same for an unknown user" cmp "$work/methods" "$work/methods-of-nobody"

ok "an unknown user takes as long" /usr/bin/python3 -W ignore "$here/scanners/timing.py"

seq -f 'wrong-%g' 12 >"$work/guesses"
cd "$work"
timeout 60 hydra -I -t 4 -l "$SFTP_USER" -P "$work/guesses" -s "$PORT" "$HOST" ssh >"$work/hydra" 2>&1
ok "hydra: ran" grep -q '0 valid password' "$work/hydra"
ok "hydra: found nothing" not grep 'login:' "$work/hydra"

echo pwd >"$work/batch"
ok "the user still logs in" sftp -q -F "$ssh_config" -b "$work/batch" target
summary
