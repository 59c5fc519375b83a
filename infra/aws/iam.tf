# The function's role: exactly the calls that the code makes. internal/bucket/s3bucket/permissions.go lists those to S3.

locals {
  # Buckets with the same prefixes share their statements: a role's inline policies may have 10,240 characters in all.
  prefix_sets = { for b, prefixes in local.prefixes : jsonencode(prefixes) => b... }

  source_statements = flatten([for i, set in keys(local.prefix_sets) : [
    {
      Sid      = "ListSources${i + 1}"
      Effect   = "Allow"
      Action   = "s3:ListBucket"
      Resource = [for b in local.prefix_sets[set] : "arn:${local.partition}:s3:::${b}"]
      # The code lists with the prefix itself. The rest is for S3's answer to a file that has just gone, where it puts the key in the prefix's
      # place: 404, and not a refusal that would look like missing rights.
      Condition = { StringLike = { "s3:prefix" = [for p in jsondecode(set) : "${p}*"] } }
    },
    {
      Sid    = "ReadSources${i + 1}"
      Effect = "Allow"
      Action = "s3:GetObject"
      # wildcard: the keys below the prefix are the DAG files, which nobody knows beforehand
      Resource = flatten([for b in local.prefix_sets[set] : [for p in jsondecode(set) : "arn:${local.partition}:s3:::${b}/${p}*"]])
    },
  ]])

  state_objects = [
    # Below a route's folder the names are those of runs. With many routes the policy would be too long for one line each.
    # wildcard: all folders are those of routes; the configuration file has no slash in its key and so stays out of reach
    for folder in(length(var.routes) <= 40 ? var.routes[*].name : ["*"]) : "arn:${local.partition}:s3:::${local.state_bucket}/${folder}/*"
  ]

  token_references = distinct([for r in var.routes : r.token != null ? r.token : "aws-sm:${local.token_secret_arn}"])
  references       = concat(local.token_references, local.notify_references)
  secret_arns      = distinct([for t in local.references : split("#", trimprefix(t, "aws-sm:"))[0] if startswith(t, "aws-sm:")])
  parameter_arns = distinct([for t in [for t in local.references : trimprefix(t, "aws-ssm:") if startswith(t, "aws-ssm:")] :
    startswith(t, "arn:") ? join(":", slice(split(":", t), 0, 6)) : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter/${trimprefix(split(":", t)[0], "/")}"
  ])

  # Keys that decrypt objects of source buckets, whoever owns them.
  source_keys = distinct(compact(concat(
    [for s in values(local.special) : s.kms_key_arn], [for b, k in local.bucket_key : k if contains(local.source_buckets, b)],
  )))
  dns_suffix = data.aws_partition.current.dns_suffix

  key_grants = concat(
    [for k in [local.kms_key_arn] : {
      Sid    = "StateKey"
      Effect = "Allow"
      Action = ["kms:Decrypt", "kms:GenerateDataKey"]
      # Never with the key alone, only through what is encrypted with it.
      Resource  = k
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.${local.dns_suffix}" } }
    } if local.customer_key],
    [for k in [local.kms_key_arn] : {
      Sid       = "QueueAndTokenKey"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = k
      Condition = { StringEquals = { "kms:ViaService" = ["secretsmanager.${local.region}.${local.dns_suffix}", "sqs.${local.region}.${local.dns_suffix}"] } }
    } if local.customer_key],
    # What was written before the key changed stays encrypted with the former one.
    [for keys in [var.former_kms_key_arns] : {
      Sid       = "FormerKeys"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = keys
      Condition = { StringEquals = { "kms:ViaService" = [for s in ["s3", "secretsmanager", "sqs"] : "${s}.${local.region}.${local.dns_suffix}"] } }
    } if length(keys) > 0],
    [for keys in [local.source_keys] : {
      Sid       = "SourceKeys"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = keys
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.${local.dns_suffix}" } }
    } if length(keys) > 0],
    [for keys in [var.token_kms_key_arns] : {
      Sid    = "TokenKeys"
      Effect = "Allow"
      Action = ["kms:Decrypt"]
      # A secret may lie in another region than the function.
      Resource = keys
      Condition = { StringEquals = { "kms:ViaService" = distinct(flatten([
        for k in keys : [for s in ["secretsmanager", "ssm"] : "${s}.${split(":", k)[3]}.${local.dns_suffix}"]
      ])) } }
    } if length(keys) > 0],
    [for keys in [var.notify_kms_key_arns] : {
      Sid    = "TopicKeys"
      Effect = "Allow"
      # SNS encrypts what is published with a data key of the publisher's asking, and looks at it before it takes it.
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = keys
      Condition = { StringEquals = { "kms:ViaService" = distinct([for k in keys : "sns.${split(":", k)[3]}.${local.dns_suffix}"]) } }
    } if length(keys) > 0],
    [for keys in [local.status_keys] : {
      Sid    = "StatusKeys"
      Effect = "Allow"
      # Decrypt is for uploads in parts.
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = keys
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.${local.dns_suffix}" } }
    } if length(keys) > 0],
  )

  vpc_actions = [
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
  ]

  function_policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    local.source_statements,
    [
      {
        # Without a condition on the prefix: a first run looks for a record that is not there yet, and must be told so.
        Sid      = "ListState"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = "arn:${local.partition}:s3:::${local.state_bucket}"
      },
      {
        Sid      = "KeepState"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = local.state_objects
      },
      {
        Sid      = "ReadConfiguration"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${local.state_bucket}/dagbucket.yaml"
      },
      {
        Sid      = "TakeEvents"
        Effect   = "Allow"
        Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        Resource = aws_sqs_queue.events.arn
      },
      {
        Sid    = "WriteLogs"
        Effect = "Allow"
        Action = ["logs:CreateLogStream", "logs:PutLogEvents"]
        # wildcard: Lambda names the streams of the log group
        Resource = "${local.log_group_arn}:*"
      },
    ],
    [for places in [local.status_places] : {
      Sid    = "WriteStatus"
      Effect = "Allow"
      Action = ["s3:AbortMultipartUpload", "s3:PutObject"]
      # wildcard: the pages below the prefix
      Resource = [for p in places : "arn:${local.partition}:s3:::${p}*"]
    } if length(places) > 0],
    [for arns in [local.notify_topics] : { Sid = "Notify", Effect = "Allow", Action = "sns:Publish", Resource = arns } if length(arns) > 0],
    [for arns in [local.secret_arns] : { Sid = "ReadSecrets", Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = arns } if length(arns) > 0],
    [for arns in [local.parameter_arns] : { Sid = "ReadParameters", Effect = "Allow", Action = "ssm:GetParameter", Resource = arns } if length(arns) > 0],
    local.key_grants,
    [for v in [var.vpc] : {
      Sid    = "NetworkInterfaces"
      Effect = "Allow"
      Action = local.vpc_actions
      # wildcard: Lambda makes and removes interfaces that nobody knows beforehand, and the Describe actions take no resource
      Resource = "*"
    } if v != null],
    # Lambda needs those rights to set the function up; the code inside it has no use for them.
    [for v in [var.vpc] : {
      Sid    = "NotFromInside"
      Effect = "Deny"
      Action = local.vpc_actions
      # wildcard: it denies, and so names every interface
      Resource  = "*"
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = local.function_arn } }
    } if v != null],
  ) })
}

resource "aws_iam_role" "function" {
  name                 = "${var.name}-${local.region}" # an account has each role's name once, whatever the region
  path                 = var.iam_path
  description          = "dagbucket: reads DAG buckets, keeps its state, reads the Astro API token"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Lambda"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  name   = var.name
  role   = aws_iam_role.function.id
  policy = local.function_policy

  lifecycle {
    precondition {
      condition     = length(local.function_policy) <= 10240
      error_message = "The role's policy has ${length(local.function_policy)} characters, and IAM takes 10,240: put the secrets into one JSON secret (aws-sm:ARN#key), use fewer or shorter prefixes and places of status, or split the routes between two modules, each with its own name."
    }
  }
}
