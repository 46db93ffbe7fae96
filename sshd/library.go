package sshd

import (
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
	windowed interface {
		Window() (size, left, unread uint32)
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
// round trip a client can send no more than a window. So the window is doubled
// when the client has used it up, and everything has been read: what bounds the
// upload is then neither this server nor the disk, but the way.
type growing struct {
	ssh.Channel
	lib    windowed
	most   Window
	budget *budget
	user   directory.Identity
	read   uint32 // since the window was last considered
	grown  uint32
}

// considerEach is how many bytes are read between two looks at the window.
const considerEach = 128 << 10

// grow returns ch with a window of the size that the settings name. The caller calls
// end after the last Read.
func (c *conn) grow(ch ssh.Channel, u directory.Identity) (_ ssh.Channel, end func()) {
	lib, ok := ch.(windowed)
	if !ok {
		return ch, func() {}
	}
	g := &growing{Channel: ch, lib: lib, most: c.srv.Window, budget: &c.srv.budget, user: u}
	if g.most != WindowAuto {
		size, _, _ := lib.Window()
		g.add(uint32(g.most) - min(size, uint32(g.most)))
		return ch, g.end
	}
	g.most = maxWindow
	return g, g.end
}

func (g *growing) Read(p []byte) (int, error) {
	n, err := g.Channel.Read(p)
	if g.read += uint32(n); g.read >= considerEach {
		g.read = 0
		size, left, unread := g.lib.Window()
		if left < size/8 && unread < size/8 && size < uint32(g.most) {
			g.add(min(size, uint32(g.most)-size))
		}
	}
	return n, err
}

// add makes the window larger if the person and the process may hold that much.
func (g *growing) add(by uint32) {
	if by > 0 && g.budget.take(g.user, holding{window: int64(by)}) == nil {
		g.grown += by
		g.lib.GrowWindow(by) // if it fails the next Read does, too
	}
}

func (g *growing) end() { g.budget.take(g.user, holding{window: -int64(g.grown)}) }
