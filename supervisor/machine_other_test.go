//go:build !linux

package supervisor_test

import "errors"

func dumpable() error { return errors.ErrUnsupported }

func mountTmpfs(string, string) (unmount func() error, err error) { return nil, errors.ErrUnsupported }
