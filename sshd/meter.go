package sshd

import (
	"errors"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A meter bounds what a client can make the SSH library keep. The window of a
// channel bounds its bytes, not its packets, and the library keeps packets: two
// million of one byte, sent to a service that waits for its answers to be taken,
// are 100 MiB. A meter cannot see packets. It compares what has come off the wire
// with what services have taken, for as long as a channel may still hold of it.
type meter struct {
	net.Conn
	over func() // ends the connection

	mu       sync.Mutex
	read     int64 // off the wire
	taken    int64 // by services
	looked   int64 // read when the channels were last checked
	channels map[*meteredChannel]struct{}
	charge   func(bytes int64) error // what is not taken, to who pays for it; nil: nobody yet
	charged  int64
}

const (
	windowSize = 2 << 20 // the library's, for each channel
	meterStep  = 1 << 20 // off the wire, between two checks of the channels

	// maxUnread is how much more may come off the wire than is taken: the windows
	// of ten channels, and heads and padding of packets whose data has been taken.
	// In packets of one byte this much becomes 32 MiB of memory.
	maxUnread = 24 << 20
)

var errUnread = errors.New("more than the windows hold was sent and not taken")

func newMeter(nc net.Conn, over func()) *meter {
	return &meter{Conn: nc, over: over, channels: map[*meteredChannel]struct{}{}}
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read += int64(n)
	if m.read-m.looked < meterStep {
		return n, err
	}
	m.looked = m.read
	unread := int64(0)
	for ch := range m.channels {
		ch.drain()
		if !ch.waiting {
			unread = max(unread, m.read-m.taken-ch.mark)
		}
	}
	if unread > maxUnread || m.settle(unread) != nil {
		m.over()
		return 0, errUnread
	}
	return n, err
}

// chargeTo makes charge pay for what the client sends and services do not take.
func (m *meter) chargeTo(charge func(bytes int64) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.charge = charge
}

// settle brings what is charged to unread. m.mu is held.
func (m *meter) settle(unread int64) error {
	if m.charge == nil || unread == m.charged {
		return nil
	}
	err := m.charge(unread - m.charged)
	if err == nil {
		m.charged = unread
	}
	return err
}

// end ends the metering of the connection.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(0)
	m.charge = nil
}

// A meteredChannel reports to the meter what a service reads.
type meteredChannel struct {
	ssh.Channel
	meter    *meter
	waiting  bool // in Read: there was nothing in the channel
	taken    int64
	draining bool

	// mark is read-taken of the meter when the channel last held nothing of what
	// had been sent until then: when it was empty, or, for a channel holds no more
	// than its window and gives it away in order, at a moment since when a whole
	// window has been taken. next is the mark to be, nextTaken what had been taken.
	mark, next, nextTaken int64
}

// channel meters ch until the channel's close is called.
func (m *meter) channel(ch ssh.Channel) *meteredChannel {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &meteredChannel{Channel: ch, meter: m, mark: m.read - m.taken, next: m.read - m.taken}
	m.channels[c] = struct{}{}
	return c
}

// forget ends the metering of c.
func (c *meteredChannel) forget() {
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	delete(c.meter.channels, c)
}

func (c *meteredChannel) Read(p []byte) (int, error) {
	m := c.meter
	m.mu.Lock()
	c.waiting = true
	m.mu.Unlock()
	n, err := c.Channel.Read(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	c.waiting = false
	m.taken += int64(n)
	c.taken += int64(n)
	now := m.read - m.taken
	switch {
	case n < len(p):
		c.mark, c.next, c.nextTaken = now, now, c.taken
		if len(m.channels) == 1 {
			m.settle(0)
		}
	case c.taken-c.nextTaken >= windowSize:
		c.mark, c.next, c.nextTaken = c.next, now, c.taken
	}
	return n, err
}

// drain takes what the client sends as standard error, for which no service has a
// use and which would stay in the channel. It is only started once there has been
// traffic, so an idle session does not have a goroutine more for it.
func (c *meteredChannel) drain() {
	if c.draining {
		return
	}
	c.draining = true
	go func() {
		var b [1024]byte
		for {
			n, err := c.Channel.Stderr().Read(b[:])
			c.meter.mu.Lock()
			c.meter.taken += int64(n)
			c.meter.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
}
