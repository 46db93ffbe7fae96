# curl, with SFTP and SCP by libssh2.
clients+=(curl-sftp-key curl-sftp-password curl-scp)

curl_sftp() {
	url=sftp://$HOST:$PORT$R
	for f in zero one mid big; do
		ok "put $f" curl -sSk "$@" -T $f "$url/$f"
	done
	ok "content" there zero one mid big
	ok "get" curl -sSk "$@" -o "$O/big" "$url/big"
	ok "content got" back big
	ok "list" shell 'curl -sSk "${@:2}" "$1/" | grep -q big' "$url" "$@"

	head -c 2000000 big >"$D/part"
	ok "resume put" curl -sSk "$@" -C - -T big "$url/part"
	ok "content resumed" cmp big "$D/part"
	head -c 3000000 big >"$O/part"
	ok "resume get" curl -sSk "$@" -C - -o "$O/part" "$url/big"
	ok "content got resumed" cmp big "$O/part"

	ok "rename, mkdir, rm" curl -sSk "$@" -o /dev/null -Q "-rename $R/one $R/uno" -Q "-mkdir $R/dd" -Q "-rm $R/mid" "$url/"
	ok "are done" test -f "$D/uno" -a -d "$D/dd" -a ! -e "$D/mid"
	ok "--ftp-create-dirs" curl -sSk "$@" --ftp-create-dirs -T one "$url/n1/n2/one"
}
curl_sftp_key() { curl_sftp -u "$SFTP_USER:" --key "$key" --pubkey "$key.pub"; }
curl_sftp_password() { curl_sftp -u "$SFTP_USER:$SFTP_PASS"; }

curl_scp() {
	url=scp://$HOST:$PORT$R
	for f in zero one mid big; do
		ok "put $f" curl -sSk -u "$SFTP_USER:$SFTP_PASS" -T $f "$url/$f"
	done
	ok "content" there zero one mid big
	ok "get" curl -sSk -u "$SFTP_USER:$SFTP_PASS" -o "$O/big" "$url/big"
	ok "content got" back big
}
