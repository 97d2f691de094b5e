#!/bin/bash
# Training on a SLURM cluster: two nodes of eight GPUs, requeued when the time is up or a node is lost. The same command
# continues from the newest checkpoint, so a requeued job needs nothing else. Submit it with the virtual environment active:
# jobs inherit the PATH, on which `python` and `accelerate` are looked for.
#   sbatch slurm.sh --preset liquid-10l --data data/mimic+data/pathgen --tokenizer runs/vqgan --out runs/liquid-10l
#SBATCH --job-name=medim
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300

set -euo pipefail

# Five minutes before the end: a SIGINT lets every process save a checkpoint, then the job goes back into the queue.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=280  # seconds that the launcher waits for that; by itself it kills after 30
requeue() {
    scancel --signal=INT "$SLURM_JOB_ID.0" || true
    wait "$step" || true
    scontrol requeue "$SLURM_JOB_ID"
}
trap requeue USR1

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
here=$(python -c 'from importlib.resources import files; print(files("medim.training") / "launch")')
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c "accelerate launch --config_file '$here/fsdp2.yaml' \
    --num_machines $SLURM_NNODES --num_processes $((SLURM_NNODES * 8)) --machine_rank \$SLURM_PROCID \
    --main_process_ip $head --main_process_port 29500 --rdzv_backend static \
    -m benchmark.cli train model $*" &
step=$!
wait "$step"
