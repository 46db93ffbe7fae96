package ldap

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Active Directory has no numbers of users, only SIDs. SSSD makes numbers of them, with
// these defaults of sssd-ad(5), "ID MAPPING": the domain's SID is hashed to a slice of
// the range, and the last number of a SID (the RID) is the place in the slice. RIDs
// that do not fit use more slices.
const (
	sidRangeMin  = 200_000
	sidSliceSize = 200_000
	sidSlices    = 10_000
	sidMore      = 10 // slices beyond the first
)

// numberOfSID returns the number that SSSD gives to the user or group sid, which must be of
// the domain. A domain is the SID without the last number.
func numberOfSID(sid, domain string) (uint32, error) {
	last, ok := strings.CutPrefix(sid, domain+"-")
	rid, err := strconv.ParseUint(last, 10, 32)
	if !ok || err != nil || !strings.HasPrefix(domain, "S-1-5-21-") {
		return 0, fmt.Errorf("the SID %q is not of the domain %q", sid, domain)
	}
	n := uint32(rid / sidSliceSize)
	if n > sidMore {
		return 0, fmt.Errorf("the SID %q has no place: its last number must be below %d", sid, (sidMore+1)*sidSliceSize)
	}
	taken := map[uint32]bool{}
	slice := murmur3(domain) % sidSlices
	for i := uint32(1); i <= n; i++ {
		taken[slice] = true
		if slice = murmur3(fmt.Sprintf("%s-%d", domain, i*sidSliceSize)) % sidSlices; taken[slice] {
			return 0, fmt.Errorf("the SID %q has no place of its own in the range", sid)
		}
	}
	return sidRangeMin + slice*sidSliceSize + uint32(rid%sidSliceSize), nil
}

// domainOfSID is a SID without its last number.
func domainOfSID(sid string) string {
	return sid[:max(strings.LastIndexByte(sid, '-'), 0)]
}

// murmur3 is MurmurHash3_x86_32 with the seed that SSSD uses.
func murmur3(text string) uint32 {
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }
	h, b := uint32(0xdeadbeef), []byte(text)
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h^mix(binary.LittleEndian.Uint32(b)), 13)*5 + 0xe6546b64
	}
	var tail [4]byte
	copy(tail[:], b)
	h ^= mix(binary.LittleEndian.Uint32(tail[:])) // of nothing it is 0
	h ^= uint32(len(text))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
