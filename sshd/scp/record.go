package scp

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"berth/fs"
)

// A record is a C or D line: C<mode> <size> <name>.
type record struct {
	mode iofs.FileMode // permission and special bits
	size int64
	name string
}

// parseRecord reads what follows C or D.
func parseRecord(line string) (record, error) {
	mode, rest, _ := strings.Cut(line, " ")
	size, name, ok := strings.Cut(rest, " ")
	if !ok {
		return record{}, protocolError("record without mode, size and name")
	}
	m, err := strconv.ParseUint(mode, 8, 12)
	if err != nil || len(mode) != 4 {
		return record{}, protocolError("bad mode")
	}
	n, err := strconv.ParseUint(size, 10, 63)
	if err != nil {
		return record{}, protocolError("bad size")
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return record{}, fatal{text: fmt.Sprintf("error: unexpected filename: %s", name)}
	}
	return record{mode: fs.FileMode(uint32(m)), size: int64(n), name: name}, nil
}

var errTimes = errors.New("times not delimited")

// parseTimes reads what follows T: "<mtime> <microseconds> <atime>
// <microseconds>". Seconds out of range are no error, as with OpenSSH; the times are
// then not set.
func parseTimes(line string) (fs.Attr, error) {
	fields := strings.Split(line, " ")
	if len(fields) != 4 {
		return fs.Attr{}, errTimes
	}
	var n [4]int64
	for i, field := range fields {
		v, err := strconv.ParseUint(field, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return fs.Attr{}, errTimes
		}
		n[i] = int64(min(v, math.MaxInt64))
	}
	if n[1] > 999_999 || n[3] > 999_999 {
		return fs.Attr{}, errTimes
	}
	const latest = 1 << 40 // no file system overflows below this
	if n[0] > latest || n[2] > latest {
		return fs.Attr{}, nil
	}
	return fs.Attr{
		Set:   fs.AttrTimes,
		Mtime: time.Unix(n[0], n[1]*1000),
		Atime: time.Unix(n[2], n[3]*1000),
	}, nil
}
