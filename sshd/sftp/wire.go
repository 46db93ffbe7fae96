package sftp

import (
	"cmp"
	"encoding/binary"
	iofs "io/fs"
	"math"
	"time"

	"berth/fs"
)

// Packet types of draft-ietf-secsh-filexfer-02, section 3.
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpOpen          = 3
	fxpClose         = 4
	fxpRead          = 5
	fxpWrite         = 6
	fxpLstat         = 7
	fxpFstat         = 8
	fxpSetstat       = 9
	fxpFsetstat      = 10
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpRemove        = 13
	fxpMkdir         = 14
	fxpRmdir         = 15
	fxpRealpath      = 16
	fxpStat          = 17
	fxpRename        = 18
	fxpReadlink      = 19
	fxpSymlink       = 20
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

// Sizes in bytes. They are those of OpenSSH's server, so every client that works with
// it works here.
const (
	maxPacket = 256 << 10 // a packet without its length field
	maxData   = 255 << 10 // the data of one READ or WRITE
	maxName   = 4096      // a name as it was sent, PATH_MAX of the systems we know
)

// reader parses the body of a request, without a copy. The first field that does not
// fit sets err, and every field after that is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.fail(errMalformed)
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

// fail records why a request cannot be served; the first reason stays.
func (r *reader) fail(err error) {
	r.err = cmp.Or(r.err, err)
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// offset reads a place in a file or a number of bytes, which the file system
// counts in 63 bits.
func (r *reader) offset() int64 {
	n := uint64(r.u32())<<32 | uint64(r.u32())
	if n > math.MaxInt64 {
		r.fail(iofs.ErrInvalid)
		return 0
	}
	return int64(n)
}

// bytes reads a string. The result is valid until the next request.
func (r *reader) bytes() []byte {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)) {
		r.fail(errMalformed)
		return nil
	}
	return r.take(int(n))
}

// Flags of the ATTRS structure, section 5 of the draft.
const (
	attrSize     = 0x00000001
	attrOwner    = 0x00000002
	attrMode     = 0x00000004
	attrTimes    = 0x00000008
	attrExtended = 0x80000000
)

// attrs reads an ATTRS structure. Flags and extended attributes that version 3 does
// not define are ignored, as OpenSSH does.
func (r *reader) attrs() (a fs.Attr) {
	flags := r.u32()
	if flags&attrSize != 0 {
		a.Set |= fs.AttrSize
		a.Size = r.offset()
	}
	if flags&attrOwner != 0 {
		a.Set |= fs.AttrOwner
		a.UID, a.GID = r.u32(), r.u32()
	}
	if flags&attrMode != 0 {
		a.Set |= fs.AttrMode
		a.Mode = fs.FileMode(r.u32() & 0o7777) // no client changes the type
	}
	if flags&attrTimes != 0 {
		a.Set |= fs.AttrTimes
		a.Atime, a.Mtime = time.Unix(int64(r.u32()), 0), time.Unix(int64(r.u32()), 0)
	}
	if flags&attrExtended != 0 {
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			r.bytes() // name
			r.bytes() // value
		}
	}
	return a
}

func appendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func appendString[S string | []byte](b []byte, s S) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}

// ownerOf returns what package fs knows of a file beyond io/fs. If it knows nothing,
// the result is false, and the last access was at the time of the last change.
func ownerOf(fi iofs.FileInfo) (fs.Owner, bool) {
	if o, ok := fi.Sys().(*fs.Owner); ok {
		return *o, true
	}
	return fs.Owner{Nlink: 1, Atime: fi.ModTime()}, false
}

// seconds returns a time as version 3 carries it. A time before 1970 or after 2106
// becomes the nearest one that fits.
func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}

func appendAttrs(b []byte, fi iofs.FileInfo) []byte {
	owner, known := ownerOf(fi)
	flags := uint32(attrSize | attrMode | attrTimes)
	if known {
		flags |= attrOwner
	}
	b = appendU32(b, flags)
	b = appendU64(b, uint64(fi.Size()))
	if known {
		b = appendU32(b, owner.UID)
		b = appendU32(b, owner.GID)
	}
	b = appendU32(b, fs.PosixMode(fi.Mode()))
	b = appendU32(b, seconds(owner.Atime))
	return appendU32(b, seconds(fi.ModTime()))
}
