# Libraries of eight languages: a program of each does the usual round.
clients+=(paramiko asyncssh python-scp net-sftp net-scp phpseclib net-sftp-foreign jsch node-ssh2 libssh)

# round COMMAND...: a program gets $S, $R, $O and the key as its arguments.
round() {
	ok "round" "$@" "$S" "$R" "$O" "$key"
	ok "content" there zero one mid big
	ok "content got" back big
}

# Debian's packages are for Debian's Python, whatever else is in the PATH.
paramiko() { round /usr/bin/python3 -W ignore "$here/clients/round-paramiko.py"; }
asyncssh() { round /usr/bin/python3 -W ignore "$here/clients/round-asyncssh.py"; }
python_scp() { round /usr/bin/python3 -W ignore "$here/clients/round-python-scp.py"; }
net_scp() { round ruby -W0 "$here/clients/round-net-scp.rb"; }
net_sftp() { round ruby -W0 "$here/clients/round-net-sftp.rb"; }
phpseclib() { round php "$here/clients/round-phpseclib.php"; }
net_sftp_foreign() { round perl "$here/clients/round-net-sftp-foreign.pl" "$ssh_config"; }

# npm has put it beside all others of the machine.
node_ssh2() { round env NODE_PATH="$(npm root --global)" node "$here/clients/round-ssh2.js"; }

libssh() {
	ok "compile" gcc -Wall -o "$work/round-libssh" "$here/clients/round-libssh.c" -lssh
	round "$work/round-libssh"
}

jsch() {
	jar=/usr/share/java/jsch.jar
	ok "compile" javac -cp $jar -d "$work" "$here/clients/RoundJsch.java"
	round java -cp "$jar:$work" RoundJsch
}
