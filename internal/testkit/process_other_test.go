//go:build !linux

package testkit

// systemRoles are the roles for which this system has what they need.
var systemRoles map[string]func()
