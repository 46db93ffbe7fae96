package early

import (
	"net"
	"sync"
	"time"
)

// The library writes a packet through a bufio.Writer of this size and flushes it at
// the end of the packet. So a longer packet is written in two parts: the first has
// exactly this size, and the rest follows at once. TestLibraryBuffer checks that.
const libraryBuffer = 4096

// holdTime is how long a write of libraryBuffer bytes waits for the rest of its
// packet, which follows within microseconds. A packet of exactly that length has no
// rest, and looks the same. (With AES-GCM and ChaCha20 no packet has that length.)
const holdTime = time.Millisecond

// closeTime bounds how long Close waits for a full socket.
const closeTime = 100 * time.Millisecond

var heldBuffers = sync.Pool{New: func() any { return new([libraryBuffer]byte) }}

// A joiner makes one write of the two parts of a packet. It holds back a write of
// libraryBuffer bytes until the next one, but no longer than holdTime. Its lock must
// be held to use it.
type joiner struct {
	sync.Mutex
	held  *[libraryBuffer]byte // nil if nothing is held back
	timer *time.Timer          // sends what is held
	armed bool
	err   error // of sending what was held back: the stream is broken
	both  net.Buffers
	pair  [2][]byte
}

func (j *joiner) write(tcp *net.TCPConn, p []byte) (int, error) {
	if j.err != nil {
		return 0, j.err
	}
	if j.held != nil {
		return j.join(tcp, p)
	}
	if len(p) != libraryBuffer {
		return tcp.Write(p)
	}
	j.held = heldBuffers.Get().(*[libraryBuffer]byte)
	copy(j.held[:], p)
	j.arm(tcp)
	return len(p), nil
}

// join sends what is held and p with one system call.
func (j *joiner) join(tcp *net.TCPConn, p []byte) (int, error) {
	j.pair = [2][]byte{j.held[:], p}
	j.both = j.pair[:]
	n, err := j.both.WriteTo(tcp)
	j.pair = [2][]byte{}
	j.drop()
	if n < libraryBuffer {
		j.err = err
	}
	return int(max(0, n-libraryBuffer)), err
}

// send sends what is held.
func (j *joiner) send(tcp *net.TCPConn) {
	if j.held == nil {
		return
	}
	_, j.err = tcp.Write(j.held[:])
	j.drop()
}

func (j *joiner) drop() {
	heldBuffers.Put(j.held)
	j.held = nil
}

// arm starts the timer unless it runs. The timer is not stopped after each packet:
// while data flows it fires once in holdTime and mostly finds nothing.
func (j *joiner) arm(tcp *net.TCPConn) {
	if j.armed {
		return
	}
	j.armed = true
	if j.timer != nil {
		j.timer.Reset(holdTime)
		return
	}
	j.timer = time.AfterFunc(holdTime, func() {
		j.Lock()
		defer j.Unlock()
		j.armed = false
		j.send(tcp)
	})
}

// close sends what is held. If another write holds the lock, closing the connection
// ends that write, as without a joiner.
func (j *joiner) close(tcp *net.TCPConn) {
	if !j.TryLock() {
		return
	}
	defer j.Unlock()
	if j.held != nil {
		tcp.SetWriteDeadline(time.Now().Add(closeTime))
		j.send(tcp)
	}
	if j.timer != nil {
		j.timer.Stop()
	}
	if j.err == nil {
		j.err = net.ErrClosed
	}
}
