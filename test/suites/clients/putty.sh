# PuTTY's psftp and pscp, and dropbear's client below OpenSSH's sftp.
clients+=(psftp pscp-sftp pscp-scp putty-key dropbear)

by_password() { "$1" -batch -hostkey "$fingerprint" -P "$PORT" -pw "$SFTP_PASS" "${@:2}"; }

psftp() {
	cat >"$work/batch" <<-EOF
		cd $R
		put zero
		put one
		put mid
		put big
		put "with space"
		put -r tree
		ls
		mkdir d
		mv one d
		get big $O/big
		get -r tree $O/tree
		chmod 600 mid
		del zero
		quit
	EOF
	ok "batch" by_password "$(type -P psftp)" -b "$work/batch" "$SFTP_USER@$HOST"
	ok "content" there mid big "with space"
	ok "tree" diff -r tree "$D/tree"
	ok "content got" back big
	ok "tree got" diff -r tree "$O/tree"
	ok "mv, del" test -f "$D/d/one" -a ! -e "$D/zero"
}

pscp_with() {
	ok "put" by_password pscp -q "$1" zero one mid big "$SFTP_USER@$HOST:$R/"
	ok "content" there zero one mid big
	ok "put -r" by_password pscp -q "$1" -r tree "$SFTP_USER@$HOST:$R/"
	ok "tree" diff -r tree "$D/tree"
	ok "get" by_password pscp -q "$1" "$SFTP_USER@$HOST:$R/big" "$O/big"
	ok "content got" back big
}
pscp_sftp() { pscp_with -sftp; }
pscp_scp() { pscp_with -scp; }

putty_key() {
	ok "convert the key" puttygen "$key" -O private -o "$work/key.ppk"
	echo "ls $R" >"$work/batch"
	ok "list" "$(type -P psftp)" -batch -hostkey "$fingerprint" -P "$PORT" -i "$work/key.ppk" -b "$work/batch" "$SFTP_USER@$HOST"
}

dropbear() {
	cat >"$work/dropbear" <<-EOF
		#!/bin/sh
		DROPBEAR_PASSWORD='$SFTP_PASS' exec dbclient -y -y -p $PORT -s $SFTP_USER@$HOST sftp
	EOF
	chmod 755 "$work/dropbear"
	printf 'put big %s/big\nget %s/big %s/big\n' "$R" "$R" "$O" >"$work/batch"
	ok "batch" sftp -q -D "$work/dropbear" -b "$work/batch"
	ok "content" there big
	ok "content got" back big
}
