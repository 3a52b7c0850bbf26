package deployment

import (
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Owner is the user who asked for the deployment.
func (deployment) Owner(s *state) string { return s.GetUserId() }

// View returns what watch-deployment shows.
func (deployment) View(_ string, s *state, _ string) proto.Message {
	return &marketplacev1.WatchDeploymentResponse{Deployment: proto.CloneOf(s.GetDeployment())}
}

// Announce has nothing to say: a deployment's steps are part of its view.
func (deployment) Announce(string, *state, *event) entity.Announcement { return entity.Announcement{} }
