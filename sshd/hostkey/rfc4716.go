package hostkey

import (
	"encoding/base64"
	"strings"

	"berth/directory/rfc4716"
)

func encodeRFC4716(k Key) ([]byte, error) {
	lines := []string{rfc4716.Begin}
	if comment := oneLine(k.Comment); comment != "" {
		folded := wrap(`Comment: "`+comment+`"`, 71)
		lines = append(lines, strings.Join(folded, "\\\n"))
	}
	lines = append(lines, wrap(base64.StdEncoding.EncodeToString(k.Public.Marshal()), 70)...)
	return []byte(strings.Join(append(lines, rfc4716.End, ""), "\n")), nil
}

// wrap cuts a text into lines of at most width bytes.
func wrap(text string, width int) (lines []string) {
	for len(text) > width {
		lines = append(lines, text[:width])
		text = text[width:]
	}
	return append(lines, text)
}
