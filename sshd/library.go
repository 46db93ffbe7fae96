package sshd

import (
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
)

// What Berth's patches add to the connections and channels of the SSH library. A
// build without them has connections and channels without these methods.
type (
	charged interface {
		Charge(charge func(bytes int64) error)
	}
	disconnecter interface {
		Disconnect(reason uint32, message string) error
	}
	windowed interface {
		Window() (size, unread uint32)
		GrowWindow(by uint32) error
	}
)

// chargeUnread counts, for the person, what the client sends and no service reads.
func (c *conn) chargeUnread(u directory.Identity) {
	lib, ok := c.ssh.Conn.(charged)
	if !ok {
		return
	}
	lib.Charge(func(bytes int64) error {
		err := c.srv.budget.take(u, holding{unread: bytes})
		if err != nil {
			c.close(event.TooMuchUnread)
			// The library closes the connection when this function returns. The kernel then
			// discards the reason if the client has not read it.
			time.Sleep(quiet)
		}
		return err
	})
}

// A growing channel has a window as large as the client can use, up to most. In one
// round trip a client can send no more than a window. So the window is made four
// times as large when half of it arrives within a round trip and everything has been
// read. Then the window limits the upload, and neither this server nor the disk
// does.
//
// Every piece of data, in either direction, counts as activity: a client on a slow line is
// not idle.
type growing struct {
	ssh.Channel
	conn  *conn
	lib   windowed // nil: the window stays as it is
	most  Window
	user  directory.Identity
	grown uint32

	opened time.Time
	trip   time.Duration // a round trip; 0: not known yet
	since  time.Time     // when read began to be counted
	read   uint32
}

const (
	// leastTrip is a round trip so short that no client fills the library's window in
	// it. Larger windows would then only use more of the processor's caches.
	leastTrip = 4 * time.Millisecond
	// leastCount is for how long bytes are counted, at least.
	leastCount = 20 * time.Millisecond
)

// grow returns ch with a window of the size that the settings name. The caller calls
// end after the last Read.
func (c *conn) grow(ch ssh.Channel, u directory.Identity) *growing {
	g := &growing{Channel: ch, conn: c, most: c.srv.Window, user: u, opened: time.Now()}
	g.lib, _ = ch.(windowed)
	if g.lib != nil && g.most != WindowAuto {
		size, _ := g.lib.Window()
		g.add(uint32(g.most) - min(size, uint32(g.most)))
		g.lib = nil
	}
	g.most = maxWindow
	return g
}

// requested notes the first request on the channel, before a service reads. A client
// needs the number of the channel for it, and waits for nothing else. So a round trip has
// passed since the channel was opened, and nothing has been uploaded yet. A later
// measurement would include the upload.
func (g *growing) requested() {
	if g.trip == 0 {
		g.trip = time.Since(g.opened)
	}
}

func (g *growing) Read(p []byte) (int, error) {
	n, err := g.Channel.Read(p)
	if n > 0 {
		g.conn.touch()
	}
	if g.lib != nil && g.trip >= leastTrip {
		g.count(uint32(n))
	}
	return n, err
}

func (g *growing) Write(p []byte) (int, error) {
	n, err := g.Channel.Write(p)
	g.conn.touch()
	return n, err
}

// count makes the window larger if it bounds the upload.
func (g *growing) count(n uint32) {
	if g.since.IsZero() {
		g.since = time.Now()
	}
	g.read += n
	passed := time.Since(g.since)
	if passed < max(g.trip/2, leastCount) {
		return
	}
	size, unread := g.lib.Window()
	inTrip := float64(g.read) / passed.Seconds() * g.trip.Seconds()
	if inTrip > float64(size/2) && unread < size/8 {
		g.add(min(3*size, uint32(g.most)-size))
	}
	g.since, g.read = time.Now(), 0
}

// add makes the window larger if the person and the process may hold that much.
func (g *growing) add(by uint32) {
	if by > 0 && g.conn.srv.budget.take(g.user, holding{window: int64(by)}) == nil {
		g.grown += by
		g.lib.GrowWindow(by) // if it fails the next Read does, too
	}
}

func (g *growing) end() { g.conn.srv.budget.take(g.user, holding{window: -int64(g.grown)}) }
