package spec

import (
	"fmt"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func (c *checker) placement(path string, p *dhowv1.Placement) {
	if s := p.GetStrategy(); s != dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_PACK && s != dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD && p != nil {
		c.add(path+".strategy", "is unknown: say pack or spread")
	}
	if n := len(p.GetConstraints()); n > MaxConstraints {
		c.add(path+".constraints", "has %d constraints; at most %d are allowed", n, MaxConstraints)
		return
	}
	for i, con := range p.GetConstraints() {
		c.constraint(fmt.Sprintf("%s.constraints[%d]", path, i), con)
	}
}

func (c *checker) constraint(path string, con *dhowv1.Constraint) {
	if why := CheckLabelKey(con.GetLabel()); why != "" {
		c.add(path+".label", "%s", why)
	}
	switch con.GetOperator() {
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN, dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN:
		if len(con.GetValues()) == 0 {
			c.add(path+".values", "is empty: in and notIn need values")
		}
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_EXISTS, dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_EXISTS:
		if len(con.GetValues()) > 0 {
			c.add(path+".values", "exists and notExists take no values")
		}
	default:
		c.add(path+".operator", "is missing or unknown: say in, notIn, exists or notExists")
	}
	for i, v := range con.GetValues() {
		if why := CheckLabelValue(v); why != "" {
			c.add(fmt.Sprintf("%s.values[%d]", path, i), "%s", why)
		}
	}
}

func (c *checker) restart(path string, r *dhowv1.RestartPolicy, job bool) {
	if r == nil {
		return
	}
	switch m := r.GetMode(); {
	case m < dhowv1.RestartMode_RESTART_MODE_ALWAYS || m > dhowv1.RestartMode_RESTART_MODE_NEVER:
		c.add(path+".mode", "is unknown: say always, onFailure or never")
	case job && m == dhowv1.RestartMode_RESTART_MODE_ALWAYS:
		c.add(path+".mode", "always would never let a job end: say onFailure or never")
	}
	if n := r.GetAttempts(); n > MaxAttempts {
		c.add(path+".attempts", "is %d; at most %d are allowed", n, MaxAttempts)
	}
	c.duration(path+".backoff", r.Backoff, MinBackoff)
	c.duration(path+".maxBackoff", r.MaxBackoff, MinBackoff)
	c.duration(path+".resetAfter", r.ResetAfter, 0)
	if b, m := r.Backoff.AsDuration(), r.MaxBackoff.AsDuration(); r.MaxBackoff != nil && b > m {
		c.add(path+".maxBackoff", "is %s, less than the first wait of %s", m, b)
	}
}

// checkImage tells why s is no OCI reference. It is a first look: the registry
// has the last word.
func checkImage(s string) string {
	const want = " is no image, such as docker.io/library/nginx:1.27"
	if s == "" {
		return "names no image"
	}
	if len(s) > 512 {
		return quote(s) + " is too long for an image: at most 512 characters are allowed"
	}
	name, digest, pinned := strings.Cut(s, "@")
	if pinned && CheckDigest(digest) != "" {
		return CheckDigest(digest)
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		if tag := name[i+1:]; !isTag(tag) {
			return quote(s) + want
		}
		name = name[:i]
	}
	for i, part := range strings.Split(name, "/") {
		if !isImagePart(part, i == 0 && strings.Contains(name, "/")) {
			return quote(s) + want
		}
	}
	return ""
}

func isTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return r > 127 || (!isLower(byte(r)) && !isUpper(byte(r)) && !isDigit(byte(r)) && !strings.ContainsRune("_.-", r))
	}) < 0
}

// isImagePart checks one step of the path; the first may be a host with port.
func isImagePart(s string, host bool) bool {
	if s == "" || strings.ContainsRune("._-", rune(s[0])) || strings.ContainsRune("._-", rune(s[len(s)-1])) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isLower(c) && !isDigit(c) && !strings.ContainsRune("._-", rune(c)) && (!host || (c != ':' && !isUpper(c))) {
			return false
		}
	}
	return true
}
