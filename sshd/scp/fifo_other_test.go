//go:build !unix

package scp

import "errors"

func makeFIFO(string) error { return errors.ErrUnsupported }
