package main

// unreadData limits how much data of a client the server must keep. Data that no service
// has read yet is charged, in steps, by the function that Charge sets. Data that the
// client sends as standard error is dropped, because no service uses it. Requests are not
// charged. So only one of each channel waits, and eight to open a channel, instead of 16,
// and a packet has at most 72 KiB, instead of 256: the longest ticket of Kerberos and the
// longest command fit.
//
// Upstream: no issue is known. Remove the patch when the memory of a channel is limited.
var unreadData = patch{
	name: "unread",
	edits: []edit{
		{"channel.go", "type channel struct", "myConsumed uint32", "myConsumed uint32\n\tcharged    uint32 // bytes, for data that was not read\n\tsettled    bool   // nothing is charged any more"},
		{"channel.go", "func (c *channel) adjustWindow", "var sendAdj uint32\n", "c.charge()\n\tvar sendAdj uint32\n"},
		{"channel.go", "func (ch *channel) handleData", "ch.myWindow -= length\n", "ch.myWindow -= length\n\terr := ch.charge()\n"},
		{"channel.go", "func (ch *channel) handleData", "if extended == 1 {", "if err != nil {\n\t\treturn err\n\t}\n\n\tif extended == 1 && ch.direction == channelOutbound {"},
		{"channel.go", "func (c *channel) close", "c.pending.eof()", "c.settle()\n\t\tc.pending.eof()"},
		{"channel.go", "func (m *mux) newChannel", "make(chan *Request, chanSize)", "make(chan *Request, 1)"},
		{"mux.go", "func newMux", "make(chan NewChannel, chanSize)", "make(chan NewChannel, 8)"},
		{"mux.go", "func newMux", "make(chan *Request, chanSize)", "make(chan *Request, 1)"},
		{"transport.go", "func (s *connectionState) readPacket", "len(packet) == 0 {\n\t\terr = errors.New(\"ssh: zero length packet\")", "(len(packet) == 0 || len(packet) > 72<<10) {\n\t\terr = errors.New(\"ssh: zero length packet, or packet too large\")"},
		{"mux.go", "type mux struct", "chanList chanList", "chanList chanList\n\tcharge   func(bytes int64) error"},
	},
	code: `
const chargeStep = 256 << 10

// Charge sets the function that gets each change of the amount of unread data, in steps.
// Its error ends the connection. Call Charge before a channel is opened.
func (c *connection) Charge(charge func(bytes int64) error) { c.mux.charge = charge }

// charge adapts the charged amount to the unread data. ch.windowMu is held.
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

// settle gives back the charged amount when the channel is closed.
func (ch *channel) settle() {
	ch.windowMu.Lock()
	defer ch.windowMu.Unlock()
	if ch.settled = true; ch.charged > 0 {
		ch.mux.charge(-int64(ch.charged))
		ch.charged = 0
	}
}
`,
}
