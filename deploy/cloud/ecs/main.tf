# Gateways on Fargate behind a load balancer with TLS, workers on instances with a GPU each. docs/DEPLOYING.md has the steps.
#
# Redis is not made here: REDIS_URL of the secret names it. It needs maxmemory-policy noeviction (ElastiCache: a parameter group of your
# own, since the default evicts) and should keep its data through a restart (MemoryDB does; accepted tasks are in it).

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_ecs_cluster" "this" {
  name = "qwen-queue"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/qwen-queue"
  retention_in_days = 30
}

# Who may do what: tasks start with the secret, instances join the cluster, and the programs themselves need nothing of AWS.

resource "aws_iam_role" "execution" {
  name               = "qwen-queue-execution"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }] })
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secret" {
  name   = "secret"
  role   = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = var.secret_arn }] })
}

resource "aws_iam_role" "instance" {
  name               = "qwen-queue-instance"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }] })
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name = "qwen-queue-instance"
  role = aws_iam_role.instance.name
}

# Who may reach whom: everyone the load balancer, it the gateways, both kinds of process Redis.

resource "aws_security_group" "balancer" {
  name   = "qwen-queue-balancer"
  vpc_id = var.vpc_id

  ingress {
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["0.0.0.0/0"]
  }

  egress {
    protocol    = "tcp"
    from_port   = 8000
    to_port     = 8000
    cidr_blocks = [data.aws_vpc.this.cidr_block]
  }
}

resource "aws_security_group" "gateway" {
  name   = "qwen-queue-gateway"
  vpc_id = var.vpc_id

  ingress {
    protocol        = "tcp"
    from_port       = 8000
    to_port         = 8000
    security_groups = [aws_security_group.balancer.id]
  }

  dynamic "ingress" {
    for_each = var.operator_cidrs
    content {
      protocol    = "tcp"
      from_port   = 9000
      to_port     = 9000
      cidr_blocks = [ingress.value]
    }
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "worker" {
  name   = "qwen-queue-worker"
  vpc_id = var.vpc_id

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_vpc_security_group_ingress_rule" "redis" {
  for_each                     = { gateway = aws_security_group.gateway.id, worker = aws_security_group.worker.id }
  security_group_id            = var.redis_security_group_id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}

# Gateways. The target group asks /health and not /ready, which is 503 while no worker runs.

resource "aws_lb" "this" {
  name                       = "qwen-queue"
  load_balancer_type         = "application"
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.balancer.id]
  idle_timeout               = 300 # streams have a comment every 10 seconds
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "gateway" {
  name                 = "qwen-queue-gateway"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8000
  deregistration_delay = 30

  health_check {
    path     = "/health"
    interval = 10
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}

resource "aws_ecs_task_definition" "gateway" {
  family                   = "qwen-queue-gateway"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048 # decoding images takes up to 1 GiB
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions = templatefile("${path.module}/gateway.json.tftpl", {
    image           = var.gateway_image
    model_name      = var.model_name
    trusted_proxies = data.aws_vpc.this.cidr_block
    secret_arn      = var.secret_arn
    log_group       = aws_cloudwatch_log_group.this.name
    region          = var.region
  })
}

resource "aws_ecs_service" "gateway" {
  name            = "gateway"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.gateway.arn
  launch_type     = "FARGATE"
  desired_count   = var.gateways
  depends_on      = [aws_lb_listener.https]

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.gateway.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.gateway.arn
    container_name   = "gateway"
    container_port   = 8000
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
}

# Workers. The cluster starts as many instances as the service has workers; each keeps its models on its disk.

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
}

resource "aws_launch_template" "worker" {
  name          = "qwen-queue-worker"
  image_id      = data.aws_ssm_parameter.image.value # its driver must support CUDA 13 (580 or newer)
  instance_type = var.instance_type
  user_data     = base64encode("#!/bin/sh\necho ECS_CLUSTER=${aws_ecs_cluster.this.name} >> /etc/ecs/ecs.config\necho ECS_CONTAINER_STOP_TIMEOUT=120s >> /etc/ecs/ecs.config\n")

  vpc_security_group_ids = [aws_security_group.worker.id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # containers can't use the instance's role
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type = "gp3"
      volume_size = 100
      encrypted   = true
    }
  }
}

resource "aws_autoscaling_group" "worker" {
  name                = "qwen-queue-worker"
  min_size            = 0
  max_size            = 8
  vpc_zone_identifier = var.private_subnet_ids

  launch_template {
    id      = aws_launch_template.worker.id
    version = aws_launch_template.worker.latest_version
  }

  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "worker" {
  name = "qwen-queue-worker"

  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.worker.arn

    managed_scaling {
      status          = "ENABLED"
      target_capacity = 100
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = [aws_ecs_capacity_provider.worker.name]
}

resource "aws_ecs_task_definition" "worker" {
  family                   = "qwen-queue-worker"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions = templatefile("${path.module}/worker.json.tftpl", {
    image      = var.worker_image
    model_name = var.model_name
    secret_arn = var.secret_arn
    log_group  = aws_cloudwatch_log_group.this.name
    region     = var.region
  })

  # A volume of Docker takes the owner of /models from the image, user 10001.
  volume {
    name = "models"
    docker_volume_configuration {
      scope         = "shared"
      autoprovision = true
    }
  }
}

resource "aws_ecs_service" "worker" {
  name            = "worker"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.worker.arn
  desired_count   = var.workers
  depends_on      = [aws_ecs_cluster_capacity_providers.this]

  # A GPU is free for the new worker only when the old one is gone.
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.worker.name
    weight            = 1
  }
}

output "address" {
  description = "name of the load balancer, to which the public name points"
  value       = aws_lb.this.dns_name
}
