package hostkey

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"berth/directory/rfc4716"
)

func encodeRFC4716(k Key) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintln(&b, rfc4716.Begin)
	if comment := oneLine(k.Comment); comment != "" {
		for _, line := range fold(`Comment: "`+comment+`"`, 71) {
			fmt.Fprintln(&b, line)
		}
	}
	wrap(&b, k.Public.Marshal(), 70)
	fmt.Fprintln(&b, rfc4716.End)
	return b.Bytes(), nil
}

// fold cuts a header into lines of at most width bytes and a backslash.
func fold(s string, width int) []string {
	var out []string
	for len(s) > width {
		out = append(out, s[:width]+`\`)
		s = s[width:]
	}
	return append(out, s)
}

// wrap writes data in base64, width characters a line, and returns how many
// lines that made.
func wrap(b *bytes.Buffer, data []byte, width int) (n int) {
	text := base64.StdEncoding.EncodeToString(data)
	for ; len(text) > 0; n++ {
		line := text[:min(width, len(text))]
		b.WriteString(line + "\n")
		text = text[len(line):]
	}
	return n
}
