locals {
  # The configuration file. What is null is left out, so that the program's own defaults hold.
  config = yamlencode({
    state = "gs://${local.state_bucket}/"
    routes = [
      for r in var.routes : {
        for key, value in {
          name         = r.name
          sources      = [for s in r.sources : { for k, v in s : k => v if v != null }]
          deployment   = r.deployment
          organization = r.organization
          token        = coalesce(r.token, "gcp-sm:${local.token_secret}/versions/latest")
          quiet_period = r.quiet_period
          max_wait     = r.max_wait
          syntax       = r.syntax
          guard        = r.guard == null ? null : { for k, v in r.guard : k => v if v != null }
          limits = r.limits == null ? null : {
            for k, v in {
              max_files = r.limits.max_files
              max_bytes = try(tonumber(r.limits.max_bytes), r.limits.max_bytes)
            } : k => v if v != null
          }
          replace_existing = r.replace_existing
          on_drift         = r.on_drift
          base_dir         = r.base_dir
          keep_bundles     = r.keep_bundles
          status           = r.status
          import_errors    = r.import_errors
          notify           = r.notify == null ? null : [for n in r.notify : jsondecode(startswith(n, "{") ? n : jsonencode(n))]
        } : key => value if value != null
      }
    ]
  })

  # What each source names: its bucket, and the prefix below it ("" is the whole bucket).
  sources = [
    for s in flatten(var.routes[*].sources) : {
      bucket = split("/", trimprefix(s.url, "gs://"))[0]
      prefix = join("/", slice(split("/", trimprefix(s.url, "gs://")), 1, length(split("/", trimprefix(s.url, "gs://")))))
    }
  ]
  source_buckets = toset(local.sources[*].bucket)

  # What each target of notify says; the variable refuses what says nothing.
  notify_targets = [
    for d in flatten([for r in var.routes : [
      for n in coalesce(r.notify, []) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})
    ]]) : { to = try(d.to, ""), secret = try(d.secret, "") }
  ]
  notify_events  = ["kept", "left_out", "held", "failed", "recovered", "drift", "import_errors", "deployed"]
  notify_topics  = toset([for t in local.notify_targets : trimprefix(t.to, "pubsub:") if startswith(t.to, "pubsub:")])
  reference_form = "gcp-sm:projects/[^/\\s]+/secrets/[A-Za-z0-9_-]{1,255}/versions/[^/\\s]+"
  notify_secrets = toset([
    for s in flatten([for t in local.notify_targets : [replace(t.to, "/^(webhook|slack):/", ""), t.secret]]) :
    split("/versions/", trimprefix(s, "gcp-sm:"))[0] if startswith(s, "gcp-sm:")
  ])

  # Where copies of the status pages go: a grant for each bucket, and more where the condition on its objects would be longer than Google takes.
  status_places = [for r in var.routes : trimprefix(r.status, "gs://") if r.status != null]
  status_grants = merge([
    for bucket in toset([for p in local.status_places : split("/", p)[0]]) : {
      for i, places in chunklist(sort([for p in local.status_places : p if split("/", p)[0] == bucket]), 10) : "${bucket}/${i + 1}" => {
        bucket = bucket
        expression = join(" || ", [
          for p in places : "resource.name.startsWith(${jsonencode("projects/_/buckets/${bucket}/objects/${trimprefix(p, "${bucket}/")}")})"
        ])
      }
    }
  ]...)

  # With created ones that have no route: a bucket stays when its last route goes.
  buckets = {
    for name in setunion(local.source_buckets, [for name, b in var.buckets : name if b.create]) : name => merge(
      { create = false, manage = true, location = null, kms_key = null, requester_pays = false },
      { for k, v in try(var.buckets[name], {}) : k => v if v != null },
      { project = try(local.other_projects[name], null) },
    )
  }
  managed_buckets = toset([for name in local.source_buckets : name if local.buckets[name].manage])

  # Null where a bucket lies in this project, whether it says so or not.
  other_projects = { for name, b in var.buckets : name => b.project == null ? null : b.project == var.project ? null : b.project }

  # In seconds, by route; 3m is the program's default.
  max_wait = {
    for r in var.routes : r.name => sum(concat([0], [
      for part in regexall("([0-9]+(?:\\.[0-9]+)?)(ms|us|µs|ns|h|m|s)", coalesce(r.max_wait, "3m")) :
      tonumber(part[0]) * lookup({ h = 3600, m = 60, s = 1 }, part[1], 0.001)
    ]))
  }

  state_bucket   = coalesce(var.state_bucket, "${var.project}-${var.name}-state")
  token_secret   = coalesce(var.token_secret, "projects/${var.project}/secrets/${var.name}-token")
  project_number = google_storage_bucket.state.project_number

  # Known at plan even where the secret's ID or the key's is not.
  create_secret = coalesce(var.create_token_secret, var.token_secret == null)
  kms           = coalesce(var.use_kms_key, var.kms_key != null)

  pubsub   = var.trigger == "pubsub"
  eventarc = var.trigger == "eventarc"

  upload   = var.zip_gcs == null
  zip_file = coalesce(var.zip_file, "${path.module}/../../build/cloudfunction.zip")

  required_apis = toset(concat([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
    ],
    # Without it, there is no agent of Eventarc to grant the key to.
    local.eventarc || local.kms ? ["eventarc.googleapis.com"] : [],
    local.kms || anytrue([for b in local.buckets : b.kms_key != null]) ? ["cloudkms.googleapis.com"] : [],
  ))
}

resource "google_project_service" "this" {
  for_each = var.enable_apis ? local.required_apis : []

  project = var.project
  service = each.key
  # Others may use it as well.
  disable_on_destroy = false
}

# The package is named by its hash and pinned by its generation: no change without a new package, and nobody can slip in another one.
# No route's name has a dot, so nothing of the state can be in its way.
resource "google_storage_bucket_object" "code" {
  count = local.upload ? 1 : 0

  bucket       = google_storage_bucket.state.name
  name         = ".code/cloudfunction-${filesha256(local.zip_file)}.zip"
  source       = local.zip_file
  content_type = "application/zip"
  # The content decides, whatever the path is on the machine that applies. Another content has another name, so that a new object is made from the new path.
  source_md5hash = filemd5(local.zip_file)

  lifecycle {
    ignore_changes = [source]
  }
}

resource "google_artifact_registry_repository" "this" {
  project       = var.project
  location      = var.region
  repository_id = var.name
  description   = "Images of the function ${var.name}."
  format        = "DOCKER"
  kms_key_name  = var.kms_key
  labels        = var.labels

  # Cloud Run keeps the image that it runs, so older ones would only cost money.
  cleanup_policies {
    id     = "keep-two"
    action = "KEEP"

    most_recent_versions {
      keep_count = 2
    }
  }

  cleanup_policies {
    id     = "delete-others"
    action = "DELETE"

    condition {
      tag_state  = "ANY"
      older_than = "604800s"
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}

resource "google_cloudfunctions2_function" "this" {
  project      = var.project
  location     = var.region
  name         = var.name
  description  = "Deploys the DAG files of buckets to Astro."
  kms_key_name = var.kms_key
  labels       = var.labels

  build_config {
    runtime           = var.runtime
    entry_point       = "Dagbucket"
    service_account   = google_service_account.build.id
    docker_repository = google_artifact_registry_repository.this.id

    source {
      storage_source {
        bucket     = local.upload ? google_storage_bucket.state.name : var.zip_gcs.bucket
        object     = local.upload ? google_storage_bucket_object.code[0].name : var.zip_gcs.object
        generation = local.upload ? google_storage_bucket_object.code[0].generation : var.zip_gcs.generation
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.run.email
    available_memory                 = var.memory
    available_cpu                    = var.cpu
    timeout_seconds                  = var.timeout
    max_instance_request_concurrency = var.concurrency
    min_instance_count               = var.min_instances
    max_instance_count               = var.max_instances
    ingress_settings                 = var.ingress
    all_traffic_on_latest_revision   = true

    vpc_connector                 = try(var.vpc.connector, null)
    vpc_connector_egress_settings = try(var.vpc.connector, null) == null ? null : var.vpc.all_traffic ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY"
    direct_vpc_egress = try(coalesce(var.vpc.network, var.vpc.subnetwork), null) == null ? null : (
      var.vpc.all_traffic ? "VPC_EGRESS_ALL_TRAFFIC" : "VPC_EGRESS_PRIVATE_RANGES_ONLY"
    )

    dynamic "direct_vpc_network_interface" {
      for_each = try(coalesce(var.vpc.network, var.vpc.subnetwork), null) == null ? [] : [var.vpc]

      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
        tags       = direct_vpc_network_interface.value.tags
      }
    }

    environment_variables = merge(
      {
        # The framework ends a request by this; without it, it would not know the function's time-out.
        CLOUD_RUN_TIMEOUT_SECONDS = tostring(var.timeout)
        DAGBUCKET_CONFIG          = local.config_url
        # An instance reads the file once: a change of it starts new ones.
        CONFIG_SHA256 = sha256(local.config)
      },
      var.astro_api_url == null ? {} : { ASTRO_API_URL = var.astro_api_url },
    )
  }

  # The build and the first run need their rights, and the file, before them.
  depends_on = [
    google_project_service.this,
    google_kms_crypto_key_iam_member.agents,
    google_storage_bucket_object.config,
    google_project_iam_member.build,
    google_storage_bucket_iam_member.build_code,
    google_artifact_registry_repository_iam_member.build,
    terraform_data.grants_settle,
    google_storage_bucket_iam_member.run_state,
    google_storage_bucket_iam_member.run_source,
    google_storage_bucket_iam_member.run_status,
    google_secret_manager_secret_iam_member.run,
    google_pubsub_topic_iam_member.run_notify,
  ]
}
