package manifest

import (
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// ParseConstraint reads the one-line form of a constraint, as kubectl's
// selectors are written: disk=ssd, disk!=hdd, "zone in (a, b)",
// "zone notin (a, b)", gpu (must be there), !gpu (must not).
func ParseConstraint(s string) (*dhowv1.Constraint, error) {
	s = strings.TrimSpace(s)
	c, ok := parseConstraint(s)
	if ok && spec.CheckLabelKey(c.Label) == "" {
		return c, nil
	}
	return nil, spec.Errorf(spec.CodeInvalid, "%s is no constraint: write disk=ssd, disk!=hdd, \"zone in (a, b)\", \"zone notin (a, b)\", gpu or !gpu", short(s))
}

func parseConstraint(s string) (*dhowv1.Constraint, bool) {
	make1 := func(label string, op dhowv1.ConstraintOperator, values ...string) *dhowv1.Constraint {
		return &dhowv1.Constraint{Label: strings.TrimSpace(label), Operator: op, Values: values}
	}
	if label, ok := strings.CutPrefix(s, "!"); ok {
		return make1(label, dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_EXISTS), true
	}
	if rest, ok := strings.CutSuffix(s, ")"); ok {
		head, values, ok := strings.Cut(rest, "(")
		words := strings.Fields(head)
		if !ok || len(words) != 2 {
			return nil, false
		}
		op := dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN
		switch strings.ToLower(words[1]) {
		case "in":
		case "notin":
			op = dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN
		default:
			return nil, false
		}
		c := make1(words[0], op)
		for v := range strings.SplitSeq(values, ",") {
			c.Values = append(c.Values, strings.TrimSpace(v))
		}
		return c, true
	}
	if label, v, ok := strings.Cut(s, "!="); ok {
		return make1(label, dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN, strings.TrimSpace(v)), true
	}
	if label, v, ok := strings.Cut(s, "="); ok {
		v = strings.TrimPrefix(v, "=") // disk==ssd is kubectl's, too
		return make1(label, dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN, strings.TrimSpace(v)), true
	}
	return make1(s, dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_EXISTS), true
}
