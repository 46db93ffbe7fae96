package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sizeUnits of 1024, which come first, and those of 1000 have different names.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// ParseSize returns the number of bytes that a text means, such as 10GiB, 2GB or 4096.
func ParseSize(s string) (int64, error) {
	number, factor := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || !plainNumber.MatchString(number) || n > (1<<62)/factor {
		return 0, errors.New("must be a number of bytes, such as 100MiB")
	}
	return n * factor, nil
}

// FormatSize returns a number of bytes as a rule has it: 10GiB. Sizes that are
// no whole number of a unit are given in the next smaller one.
func FormatSize(n int64) string {
	for _, u := range slices.Backward(sizeUnits[:4]) {
		if n != 0 && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
