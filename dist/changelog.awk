# Turns the items of the newest section of CHANGELOG.md into those of a Debian
# changelog: folded below 80 characters.
function flush(  n, words, i, line) {
	n = split(item, words, " ")
	line = "  *"
	for (i = 1; i <= n; i++) {
		if (length(line) + length(words[i]) > 76) { print line; line = "   " }
		line = line " " words[i]
	}
	if (n) print line
	item = ""
}
/^## / && sections++ { exit }
/^- / { flush(); item = substr($0, 3); next }
/^  / { item = item " " $0; next }
{ flush() }
END { flush() }
