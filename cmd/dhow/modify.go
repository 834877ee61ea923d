package main

import (
	"context"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// modifyTries is how often a change is made anew when someone else, such as a
// node that reports, was faster.
const modifyTries = 20

// modify reads an object, changes it and writes it back on the condition that
// it has stayed as it was.
func modify(ctx context.Context, c *client.Client, ref *dhowv1.Ref, change func(*dhowv1.Object) error) (*dhowv1.Object, dhowv1.Outcome, error) {
	for try := 1; ; try++ {
		o, err := getObject(ctx, c, ref)
		if err != nil {
			return nil, 0, err
		}
		o = proto.CloneOf(o)
		if err := change(o); err != nil {
			return nil, 0, err
		}
		res, err := c.Objects.Apply(ctx, &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{o}})
		if err == nil {
			return res.GetObjects()[0], res.GetOutcomes()[0], nil
		}
		if spec.CodeOf(err) != spec.CodeConflict || try >= modifyTries || ctx.Err() != nil {
			return nil, 0, timedOut(ctx, err)
		}
	}
}
