package main

// channelWindow lets the server decide about the window of a channel. Channels get the
// methods Window and GrowWindow. With the library's window of 2 MiB, an upload transfers
// at most 2 MiB in a round trip. The server enlarges the window again when the client
// has used 96 KiB of it, not after each read.
//
// Upstream: golang.org/issue/39117, and github.com/drakkan/sftpgo/issues/578. Remove the
// patch when windows can be set.
var channelWindow = patch{
	name: "window",
	edits: []edit{
		{"channel.go", "type channel struct", "myConsumed uint32", "myConsumed uint32\n\tgrown      uint32 // of the window, beyond channelWindowSize"},
		{"channel.go", "func (c *channel) adjustWindow", "if (channelWindowSize-c.myWindow > 3*channelMaxPacket) ||\n\t\t(c.myWindow < channelWindowSize/2) {", "if c.myConsumed >= 3*channelMaxPacket {"},
	},
	code: `
// unread returns how many bytes are sent and not read. ch.windowMu is held.
func (ch *channel) unread() uint32 {
	return channelWindowSize + ch.grown - ch.myWindow - ch.myConsumed
}

// Window returns the size of the window, and how many bytes of it have arrived and were
// not read yet.
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

`,
}
