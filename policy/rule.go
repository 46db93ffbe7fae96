package policy

import "errors"

// ErrDenied is wrapped by every refusal of Resolve and Check's errors wrap
// io/fs.ErrPermission.
var ErrDenied = errors.New("denied by policy")
