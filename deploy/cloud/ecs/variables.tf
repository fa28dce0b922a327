# What must be replaced. Those without a default go to terraform.tfvars, see terraform.tfvars.example.

variable "region" {
  description = "AWS region with the GPU instances"
  type        = string
}

variable "vpc_id" {
  description = "VPC with the subnets below"
  type        = string
}

variable "public_subnet_ids" {
  description = "subnets of the load balancer, in two zones at least"
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "subnets of gateways and workers, with a route to the Internet (NAT): workers download models"
  type        = list(string)
}

variable "operator_cidrs" {
  description = "networks in the VPC that may reach the routes under /admin, on port 9000 of the gateways"
  type        = list(string)
  default     = []
}

variable "certificate_arn" {
  description = "certificate (ACM) of the public name"
  type        = string
}

variable "secret_arn" {
  description = "secret (Secrets Manager) with the keys API_KEYS, ADMIN_API_KEY, REDIS_URL and HF_TOKEN, which may be empty"
  type        = string
}

variable "redis_security_group_id" {
  description = "security group of the Redis that REDIS_URL names"
  type        = string
}

variable "gateway_image" {
  description = "image of the gateway, in a registry that the tasks can read"
  type        = string
}

variable "worker_image" {
  description = "image of deploy/worker.cuda.Dockerfile, built for the instances' GPUs (L4: CUDA_COMPUTE_CAP=89)"
  type        = string
}

variable "model_name" {
  description = "MODEL_NAME of gateways and workers"
  type        = string
  default     = "Qwen/Qwen3-14B-GGUF:Q4_K_M"
}

variable "gateways" {
  description = "number of gateways"
  type        = number
  default     = 2
}

variable "workers" {
  description = "number of workers, each with a GPU of its own"
  type        = number
  default     = 1
}

variable "instance_type" {
  description = "instances with one NVIDIA GPU each; worker.json.tftpl has the memory that a worker may use"
  type        = string
  default     = "g6.xlarge"
}
