package sftp

import "slices"

// Requests lists the requests of this server, in the order of the packet types.
func Requests() []Request {
	return slices.DeleteFunc(slices.Clone(requests[:]), func(r Request) bool { return r.serve == nil })
}

// Extensions lists the extended requests, in the order in which the server announces them.
func Extensions() []Request { return slices.Clone(extensions) }
