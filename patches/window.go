package main

// channelWindow makes the window of a channel a matter of the server. Channels get the
// methods Window and GrowWindow: with the library's 2 MiB an upload moves no more than
// that in a round trip. The client is credited when it has used 96 KiB, not after each
// read. What a client sends and a service does not read is charged to Charge of the
// connection in steps, and small packets that wait are stored together, so that the
// window bounds their memory too. What a client sends as standard error, for which no
// service has a use, is dropped.
//
// Upstream: golang.org/issue/39117, and github.com/drakkan/sftpgo/issues/578. The
// patch goes when windows can be set and the memory of a channel is bounded.
var channelWindow = patch{
	name: "window",
	edits: []edit{
		{"channel.go", "type channel struct", "myConsumed uint32", "myConsumed uint32\n\tgrown      uint32 // of the window, beyond channelWindowSize\n\tcharged    uint32 // of what has not been read\n\tsettled    bool   // nothing is charged any more"},
		{"channel.go", "func (c *channel) adjustWindow", "if (channelWindowSize-c.myWindow > 3*channelMaxPacket) ||\n\t\t(c.myWindow < channelWindowSize/2) {", "c.charge()\n\tif c.myConsumed >= 3*channelMaxPacket {"},
		{"channel.go", "func (ch *channel) handleData", "ch.myWindow -= length\n", "ch.myWindow -= length\n\terr := ch.charge()\n"},
		{"channel.go", "func (ch *channel) handleData", "if extended == 1 {", "if err != nil {\n\t\treturn err\n\t}\n\n\tif extended == 1 && ch.direction == channelOutbound {"},
		{"channel.go", "func (c *channel) close", "c.pending.eof()", "c.settle()\n\t\tc.pending.eof()"},
		{"mux.go", "type mux struct", "chanList chanList", "chanList chanList\n\tcharge   func(bytes int64) error"},
		{"buffer.go", "func (b *buffer) write", "b.Cond.L.Lock()\n", "b.Cond.L.Lock()\n\tif b.join(buf) {\n\t\tb.Cond.L.Unlock()\n\t\treturn\n\t}\n"},
	},
	code: `
const chargeStep = 256 << 10

// Charge has what is not read charged to charge, in steps, and given back. If charge
// fails the connection ends. It is called before a channel is opened.
func (c *connection) Charge(charge func(bytes int64) error) { c.mux.charge = charge }

// unread is how much the client has sent that was not read. ch.windowMu is held.
func (ch *channel) unread() uint32 {
	return channelWindowSize + ch.grown - ch.myWindow - ch.myConsumed
}

// charge adapts what is charged to what is not read. ch.windowMu is held.
func (ch *channel) charge() error {
	unread := ch.unread()
	if ch.mux.charge == nil || ch.settled || (unread <= ch.charged && unread+chargeStep > ch.charged) {
		return nil
	}
	step := (unread + chargeStep - 1) / chargeStep * chargeStep
	if err := ch.mux.charge(int64(step) - int64(ch.charged)); err != nil {
		return err
	}
	ch.charged = step
	return nil
}

// settle gives back what is charged, since the channel is closed.
func (ch *channel) settle() {
	ch.windowMu.Lock()
	defer ch.windowMu.Unlock()
	if ch.settled = true; ch.charged > 0 {
		ch.mux.charge(-int64(ch.charged))
		ch.charged = 0
	}
}

// Window returns the size of the window, and how much of it is in use by what has
// arrived and was not read yet.
func (ch *channel) Window() (size, unread uint32) {
	ch.windowMu.Lock()
	defer ch.windowMu.Unlock()
	return channelWindowSize + ch.grown, ch.unread()
}

func (ch *channel) GrowWindow(by uint32) error {
	ch.windowMu.Lock()
	ch.myWindow += by
	ch.grown += by
	ch.windowMu.Unlock()
	return ch.sendMessage(windowAdjustMsg{AdditionalBytes: by})
}

// join stores buf with what waits before it, if it is small and something does.
func (b *buffer) join(buf []byte) bool {
	const together = 4 << 10
	last := b.tail
	if len(buf) > together/2 || len(last.buf) == 0 {
		return false
	}
	if last.whole != nil || cap(last.buf)-len(last.buf) < len(buf) {
		last.next = &element{buf: make([]byte, 0, together)}
		b.tail = last.next
	}
	b.tail.buf = append(b.tail.buf, buf...)
	return true
}
`,
}
