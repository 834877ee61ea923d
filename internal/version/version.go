// Package version says which build this is.
package version

import "runtime/debug"

// Version is the release this source belongs to.
const Version = "0.1.0"

// String is the release and, when the build recorded it, the commit.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 9 {
			return Version + "+" + s.Value[:9]
		}
	}
	return Version
}
