# Names that make trouble, and a file of 5 GiB, which is past 32 bits.
clients+=(odd-names huge)

odd_names() {
	long=$(printf 'n%.0s' {1..251})-255
	names=("with space" ümlaut-日本.txt $'new\nline' 'back\slash' '*' "it's" '"' ' lead' 'trail ' -rf "$long")
	mkdir "$work/odd" "$O/odd"
	for name in "${names[@]}"; do
		echo "$name" >"$work/odd/$name"
	done
	for tool in "scp -s" "scp -O"; do
		# A newline ends a record of the scp protocol: the client changes it.
		[ "$tool" = "scp -s" ] || rm "$work/odd/"$'new\nline'
		ok "$tool: put" $tool -q -r -F "$ssh_config" "$work/odd" "target:$R/"
		ok "$tool: tree" diff -r "$work/odd" "$D/odd"
		ok "$tool: get" $tool -q -r -F "$ssh_config" "target:$R/odd" "$O/"
		ok "$tool: tree got" diff -r "$work/odd" "$O/odd"
		rm -rf "$D/odd" "${O:?}"/*
	done
	ok "lftp: mirror -R" lftp_do "mirror -R $work/odd $R/odd"
	ok "lftp: tree" diff -r "$work/odd" "$D/odd"
	ok "lftp: rm -r" lftp_do "rm -r $R/odd"
	ok "python: all" /usr/bin/python3 -W ignore "$here/clients/names-paramiko.py" "$R" "$key" "${names[@]}"
}

huge() {
	size=$((5 * 1024 * 1024 * 1024))
	truncate -s $((size - 33333)) "$work/huge"
	cat mid >>"$work/huge"
	truncate -s $((size - 1000000)) "$D/huge"
	echo "reput $work/huge $R/huge" >"$work/batch"
	ok "resume put" sftp -q -F "$ssh_config" -b "$work/batch" target
	ok "ls -l" shell 'echo "ls -l $1" | sftp -q -F "$2" -b - target | grep -q " $3 "' "$R/huge" "$ssh_config" $size
	ok "size and end" shell '[ $(stat -c %s "$1") = $2 ] && tail -c 33333 "$1" | cmp - "$3"' "$D/huge" $size mid
	truncate -s $((size - 1000000)) "$O/huge"
	echo "reget $R/huge $O/huge" >"$work/batch"
	ok "resume get" sftp -q -F "$ssh_config" -b "$work/batch" target
	ok "size and end got" shell '[ $(stat -c %s "$1") = $2 ] && tail -c 33333 "$1" | cmp - "$3"' "$O/huge" $size mid
	ok "the end alone" shell 'curl -sSk -u "$1" -r -33333 "$2" | cmp - "$3"' "$SFTP_USER:$SFTP_PASS" "sftp://$HOST:$PORT$R/huge" mid
	rm "$work/huge" "$O/huge" "$D/huge"
}
