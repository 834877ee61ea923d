package spec

import (
	"fmt"
	"maps"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Labels every node has. Users cannot set labels that start with dhow/.
const (
	LabelPrefix = "dhow/"
	LabelName   = "dhow/name"
	LabelOS     = "dhow/os"
	LabelArch   = "dhow/arch"
	LabelZone   = "dhow/zone"
)

// LabelWorkload names an instance's workload; every instance has it.
const LabelWorkload = "dhow/workload"

// NodeLabels are what constraints are matched against: those the node was
// started with, the user's in meta over them, and dhow's own over all. The map
// is the caller's.
func NodeLabels(n *dhowv1.Node) map[string]string {
	info, meta := n.GetInfo(), n.GetMeta()
	out := make(map[string]string, len(info.GetLabels())+len(meta.GetLabels())+4)
	maps.Copy(out, info.GetLabels())
	maps.Copy(out, meta.GetLabels())
	out[LabelName] = meta.GetName()
	out[LabelOS] = info.GetOs()
	out[LabelArch] = info.GetArch()
	if z := info.GetZone(); z != "" {
		out[LabelZone] = z
	}
	return out
}

// CheckLabelKey tells why s cannot be a label's key; empty when it can: an
// optional prefix (a DNS name) and '/', then at most 63 letters, digits, '-',
// '_' and '.', with a letter or digit first and last.
func CheckLabelKey(s string) string {
	name := s
	if prefix, rest, ok := strings.Cut(s, "/"); ok {
		if why := checkDotted(prefix); why != "" {
			return fmt.Sprintf("%s is no label key: before '/': %s", quote(s), why)
		}
		name = rest
	}
	if !isLabelText(name) || name == "" {
		return quote(s) + " is no label key: use at most 63 letters, digits, '-', '_' and '.', with a letter or digit first and last"
	}
	return ""
}

// CheckLabelValue tells why s cannot be a label's value; empty when it can.
func CheckLabelValue(s string) string {
	if !isLabelText(s) {
		return quote(s) + " is no label value: use at most 63 letters, digits, '-', '_' and '.', with a letter or digit first and last"
	}
	return ""
}

func isLabelText(s string) bool {
	if len(s) > MaxLabelValue {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := isLower(c) || isUpper(c) || isDigit(c)
		inside := i > 0 && i < len(s)-1
		if !alnum && (!inside || (c != '-' && c != '_' && c != '.')) {
			return false
		}
	}
	return true
}
