# OpenSSH's sftp and scp.
clients+=(sftp-key sftp-password scp-sftp scp-scp rekey)

sftp_key() {
	cat >"$work/batch" <<-EOF
		cd $R
		put zero
		put one
		put mid
		put big
		put "with space"
		put ümlaut-日本.txt
		put -r tree
		mkdir d
		rename one d/uno
		ls -la
		ln -s mid sl
		get big $O/big
		get -r tree $O/
		chmod 600 mid
		rm zero
	EOF
	ok "batch" sftp -q -F "$ssh_config" -b "$work/batch" target
	ok "content" there mid big "with space" ümlaut-日本.txt
	ok "tree" diff -r tree "$D/tree"
	ok "content got" back big
	ok "tree got" diff -r tree "$O/tree"
	ok "chmod" test "$(stat -c %a "$D/mid")" = 600
	ok "rename" test -f "$D/d/uno"
	ok "rm" not test -e "$D/zero"
	ok "ln -s" test -L "$D/sl"
}

# -b asks for BatchMode, so this stands before it.
with_password="-o BatchMode=no -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1"

sftp_password() {
	printf 'put big %s/big\nget %s/big %s/big\n' "$R" "$R" "$O" >"$work/batch"
	ok "batch" env SSHPASS="$SFTP_PASS" sshpass -e sftp -q -F "$ssh_config" $with_password -b "$work/batch" target
	ok "content got" back big
	ok "wrong password" not env SSHPASS=wrong sshpass -e sftp -q -F "$ssh_config" $with_password target
}

scp_with() {
	ok "put" scp "$1" -q -p -F "$ssh_config" zero one mid big "with space" "target:$R/"
	ok "content" there zero one mid big "with space"
	ok "-p" kept_time mid
	ok "put -r" scp "$1" -q -r -F "$ssh_config" tree "target:$R/"
	ok "tree" diff -r tree "$D/tree"
	ok "get" scp "$1" -q -F "$ssh_config" "target:$R/big" "$O/"
	ok "content got" back big
	ok "get -r" scp "$1" -q -r -F "$ssh_config" "target:$R/tree" "$O/"
	ok "tree got" diff -r tree "$O/tree"
	ok "missing file" not scp "$1" -q -F "$ssh_config" "target:$R/nope" "$O/"
}
scp_sftp() { scp_with -s; }
scp_scp() { scp_with -O; }

# New keys in the middle of files. rekeyed COMMAND...: it works, with two or more
# after the first: what is under way is not counted.
rekeyed() {
	"$@" -v -o RekeyLimit=500K -F "$ssh_config" "${files[@]}" >"$work/rekey" 2>&1 || { cat "$work/rekey"; return 1; }
	[ "$(grep -c 'SSH2_MSG_NEWKEYS sent' "$work/rekey")" -ge 3 ]
}
rekey() {
	printf 'put big %s/big\nget %s/big %s/big\n' "$R" "$R" "$O" >"$work/batch"
	files=(target)
	ok "sftp" rekeyed sftp -b "$work/batch"
	ok "content" there big
	ok "content got" back big
	rm "$D/big" "$O/big"
	files=(big "target:$R/")
	ok "scp -O: put" rekeyed scp -O
	ok "scp -O: content" there big
	files=("target:$R/big" "$O/")
	ok "scp -O: get" rekeyed scp -O
	ok "scp -O: content got" back big
}
