package main

// smallPackets stores small packets that wait to be read in one buffer. So the window
// also limits their memory. In the library, two million packets of one byte take 100 MiB.
//
// Upstream: no issue is known. Remove the patch when the memory of a channel is limited.
var smallPackets = patch{
	name: "small_packets",
	edits: []edit{
		{"buffer.go", "func (b *buffer) write", "b.Cond.L.Lock()\n", "b.Cond.L.Lock()\n\tif b.join(buf) {\n\t\tb.Cond.L.Unlock()\n\t\treturn\n\t}\n"},
	},
	code: `
// join stores buf behind the data that waits to be read, if buf is small and data waits.
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
