package main

// channelWindow makes the window of a channel a matter of the server. Channels get the
// methods Window and GrowWindow: with the library's 2 MiB an upload moves no more than
// that in a round trip. The client is credited when it has used 96 KiB, not after each
// read.
//
// Upstream: golang.org/issue/39117, and github.com/drakkan/sftpgo/issues/578. The
// patch goes when windows can be set.
var channelWindow = patch{
	name: "window",
	edits: []edit{
		{"channel.go", "type channel struct", "myConsumed uint32", "myConsumed uint32\n\tgrown      uint32 // of the window, beyond channelWindowSize"},
		{"channel.go", "func (c *channel) adjustWindow", "if (channelWindowSize-c.myWindow > 3*channelMaxPacket) ||\n\t\t(c.myWindow < channelWindowSize/2) {", "if c.myConsumed >= 3*channelMaxPacket {"},
	},
	code: `
// unread is how much the client has sent that was not read. ch.windowMu is held.
func (ch *channel) unread() uint32 {
	return channelWindowSize + ch.grown - ch.myWindow - ch.myConsumed
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

`,
}
