package sshd

import (
	"sync/atomic"
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

// chargeUnread makes the person pay for what the client sends and no service reads.
func (c *conn) chargeUnread(u directory.Identity) {
	lib, ok := c.ssh.Conn.(charged)
	if !ok {
		return
	}
	lib.Charge(func(bytes int64) error {
		err := c.srv.budget.take(u, holding{unread: bytes})
		if err != nil {
			c.close(event.TooMuchUnread)
		}
		return err
	})
}

// A growing channel has a window as large as the client can use, up to most. In one
// round trip a client can send no more than a window. So the window is made four
// times as large when half of it arrives in the time of a round trip, and everything
// has been read: what bounds the upload is then neither this server nor the disk.
type growing struct {
	ssh.Channel
	lib    windowed
	most   Window
	budget *budget
	user   directory.Identity
	grown  uint32

	ping  func() error // takes a round trip
	trip  atomic.Int64 // of it, in nanoseconds; 0: not known yet
	since time.Time    // when read began to be counted; zero: the round trip is to be measured first
	read  uint32
}

const (
	// pingAfter is how much is read before the round trip is measured: a session that
	// uploads little needs no larger window.
	pingAfter = 64 << 10
	// leastCount is for how long bytes are counted, at least.
	leastCount = 20 * time.Millisecond
)

// grow returns ch with a window of the size that the settings name. The caller calls
// end after the last Read.
func (c *conn) grow(ch ssh.Channel, u directory.Identity) (_ ssh.Channel, end func()) {
	lib, ok := ch.(windowed)
	if !ok {
		return ch, func() {}
	}
	g := &growing{Channel: ch, lib: lib, most: c.srv.Window, budget: &c.srv.budget, user: u}
	if g.most != WindowAuto {
		size, _ := lib.Window()
		g.add(uint32(g.most) - min(size, uint32(g.most)))
		return ch, g.end
	}
	g.most = maxWindow
	g.ping = func() error {
		_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
		return err
	}
	return g, g.end
}

func (g *growing) Read(p []byte) (int, error) {
	n, err := g.Channel.Read(p)
	g.read += uint32(n)
	switch trip := time.Duration(g.trip.Load()); {
	case g.read < pingAfter:
	case g.since.IsZero():
		g.since, g.read = time.Now(), 0
		go g.measure()
	case trip > 0:
		g.consider(trip)
	}
	return n, err
}

// measure finds out how long a round trip takes.
func (g *growing) measure() {
	began := time.Now()
	if g.ping() == nil {
		g.trip.Store(int64(time.Since(began)))
	}
}

// consider makes the window larger if it bounds the upload.
func (g *growing) consider(trip time.Duration) {
	passed := time.Since(g.since)
	if passed < max(trip/2, leastCount) {
		return
	}
	size, unread := g.lib.Window()
	inTrip := float64(g.read) / passed.Seconds() * trip.Seconds()
	if inTrip > float64(size/2) && unread < size/8 {
		g.add(min(3*size, uint32(g.most)-size))
	}
	g.since, g.read = time.Now(), 0
}

// add makes the window larger if the person and the process may hold that much.
func (g *growing) add(by uint32) {
	if by > 0 && g.budget.take(g.user, holding{window: int64(by)}) == nil {
		g.grown += by
		g.lib.GrowWindow(by) // if it fails the next Read does, too
	}
}

func (g *growing) end() { g.budget.take(g.user, holding{window: -int64(g.grown)}) }
