package grid

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Executor does what a task asks of the grid. id is the task's. A
// *messages.Error whose rule does not say retry is final; every other error
// means that it may be tried again.
type Executor = func(ctx context.Context, id string, task proto.Message) (proto.Message, error)

// Rehearsal pretends to be the grid: contracts are numbers and machines are
// addresses at which nothing listens. It charges and deploys nothing.
//
// It remembers nothing either: what it answers follows from the deployment
// alone, so asking twice, in another process or after a crash, is answered
// alike, and there is nothing to lose. The zero value is ready.
type Rehearsal struct {
	// StepDelay is how long a task takes; 0: 300 ms, negative: no time.
	StepDelay time.Duration
	// Fail may refuse a task: what it returns is what the task fails with. It is
	// asked after the delay; nil: nothing fails.
	Fail func(task proto.Message) error
}

// Executors returns who does each task, by the full name of its message.
func (r *Rehearsal) Executors() map[protoreflect.FullName]Executor {
	return map[protoreflect.FullName]Executor{
		nameOf(&taskv1.CreateContract{}): rehearse(r, r.create),
		nameOf(&taskv1.DeployWorkload{}): rehearse(r, r.deploy),
		nameOf(&taskv1.CancelContract{}): rehearse(r, r.cancel),
	}
}

func nameOf(m proto.Message) protoreflect.FullName { return m.ProtoReflect().Descriptor().FullName() }

// rehearse makes an executor of what answers one kind of task.
func rehearse[T interface {
	proto.Message
	GetDeploymentId() string
}](r *Rehearsal, do func(T) (proto.Message, error)) Executor {
	return func(ctx context.Context, id string, task proto.Message) (proto.Message, error) {
		t, ok := task.(T)
		if !ok || t.GetDeploymentId() == "" {
			return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED, "task %s does not say for which deployment it is", id)
		}
		if err := r.wait(ctx); err != nil {
			return nil, fmt.Errorf("rehearse %s: %w", nameOf(task), err)
		}
		if r.Fail != nil {
			if err := r.Fail(task); err != nil {
				return nil, fmt.Errorf("rehearse %s: %w", nameOf(task), err)
			}
		}
		return do(t)
	}
}

// wait takes the time that a step takes, or fails when ctx ends.
func (r *Rehearsal) wait(ctx context.Context) error {
	delay := r.StepDelay
	if delay == 0 {
		delay = 300 * time.Millisecond
	}
	if delay < 0 {
		return ctx.Err()
	}
	over := time.NewTimer(delay) //nolint:forbidigo // how long to pretend to be busy
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Rehearsal) create(task *taskv1.CreateContract) (proto.Message, error) {
	return &taskv1.ContractCreated{ContractId: contractID(task.GetDeploymentId())}, nil
}

// deploy refuses a contract that is not the deployment's, as a node does.
func (r *Rehearsal) deploy(task *taskv1.DeployWorkload) (proto.Message, error) {
	if task.GetContractId() != contractID(task.GetDeploymentId()) {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED, "contract %d is not the deployment's", task.GetContractId())
	}
	return &taskv1.WorkloadDeployed{Address: address(task.GetDeploymentId(), task.GetSpec().GetPublicIpv4()).String()}, nil
}

func (r *Rehearsal) cancel(*taskv1.CancelContract) (proto.Message, error) {
	return &taskv1.ContractCancelled{}, nil
}

// digest is what a deployment's contract and address are made of.
func digest(what, deploymentID string) [sha256.Size]byte {
	return sha256.Sum256([]byte("rehearsal/" + what + "/" + deploymentID))
}

// contractID is a number from 1 to 2^53-1, which JSON can carry.
func contractID(deploymentID string) uint64 {
	d := digest("contract", deploymentID)
	return max(binary.BigEndian.Uint64(d[:])>>11, 1)
}

// address is one that nobody on the Internet has: of 100.64.0.0/10, which is
// kept for carriers, in place of a public IPv4 address, else of 2001:db8::/32,
// which is kept for documentation. Two deployments may get the same IPv4 address.
func address(deploymentID string, ipv4 bool) netip.Addr {
	d := digest("address", deploymentID)
	if ipv4 {
		return netip.AddrFrom4([4]byte{100, 64 | d[0]&63, d[1], d[2]})
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	copy(a[4:], d[:])
	return netip.AddrFrom16(a)
}
