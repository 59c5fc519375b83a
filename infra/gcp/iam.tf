# Every grant adds one member to one role; what others were granted stays.

resource "google_service_account" "run" {
  project      = var.project
  account_id   = "${var.name}-run"
  display_name = "${var.name}: the function"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "build" {
  project      = var.project
  account_id   = "${var.name}-build"
  display_name = "${var.name}: builds of the function"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "trigger" {
  project      = var.project
  account_id   = "${var.name}-trigger"
  display_name = "${var.name}: calls the function"

  depends_on = [google_project_service.this]
}

# The function reads its sources, writes its state and reads exactly the secrets that are referenced.

resource "google_storage_bucket_iam_member" "run_source" {
  for_each = local.managed_buckets

  bucket = local.buckets[each.key].create ? google_storage_bucket.source[each.key].name : each.key
  role   = "roles/storage.objectViewer"
  member = google_service_account.run.member
}

resource "google_storage_bucket_iam_member" "run_state" {
  bucket = google_storage_bucket.state.name
  role   = "roles/storage.objectUser"
  member = google_service_account.run.member
}

# To name this project as the one that pays.
resource "google_project_iam_member" "run_pays" {
  count = anytrue([for b in local.buckets : b.requester_pays]) ? 1 : 0

  project = var.project
  role    = "roles/serviceusage.serviceUsageConsumer"
  member  = google_service_account.run.member
}

locals {
  # By route, not by secret: the name of a secret may be known only once it is made. "" is token_secret, which no route's name can be.
  secrets = merge(
    { for r in var.routes : r.name => trimprefix(r.token, "gcp-sm:") if r.token != null },
    { for key in toset([for r in var.routes : "" if r.token == null]) : key => "${local.token_secret}/versions/latest" },
  )
}

resource "google_secret_manager_secret_iam_member" "run" {
  for_each = local.secrets

  project   = split("/", each.value)[1]
  secret_id = each.key == "" && local.create_secret ? google_secret_manager_secret.token[0].secret_id : split("/", each.value)[3]
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.run.member
}

# Pub/Sub, Eventarc and Cloud Scheduler call this one service, and nobody else may.

resource "google_cloud_run_v2_service_iam_member" "trigger" {
  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = google_service_account.trigger.member
}

# Pub/Sub's agent makes the tokens of pushes. Projects younger than April 2021 have granted it that for every account, older ones have not.
resource "google_service_account_iam_member" "pubsub_token" {
  service_account_id = google_service_account.trigger.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.agents.pubsub

  # The agent is there once Pub/Sub was used.
  depends_on = [google_pubsub_topic.events, google_eventarc_trigger.this]
}

# A build reads its source, writes its log and stores its image.

resource "google_project_iam_member" "build" {
  for_each = {
    log = { role = "roles/logging.logWriter", condition = null }
    # Google copies the source into a bucket that it makes at a project's first build, so no grant on the bucket itself can be made before.
    source = {
      role = "roles/storage.objectViewer"
      condition = {
        title      = "source-of-functions"
        expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${local.project_number}-${var.region}\")"
      }
    }
  }

  project = var.project
  role    = each.value.role
  member  = google_service_account.build.member

  dynamic "condition" {
    for_each = each.value.condition == null ? [] : [each.value.condition]

    content {
      title      = condition.value.title
      expression = condition.value.expression
    }
  }
}

# The build may read the package, but not the state beside it.
resource "google_storage_bucket_iam_member" "build_code" {
  count = local.upload ? 1 : 0

  bucket = google_storage_bucket.state.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member

  condition {
    title      = "code"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.state.name}/objects/.code/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "build" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.repository_id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

# Google's own accounts that act in this project.

# Asking for Cloud Storage's agent makes it.
data "google_storage_project_service_account" "this" {
  project = var.project
}

# Those of other projects with source buckets.
data "google_storage_project_service_account" "others" {
  for_each = toset([for name in local.managed_buckets : local.buckets[name].project if local.buckets[name].project != null])

  project = each.key
}

locals {
  agents = {
    storage          = data.google_storage_project_service_account.this.member
    pubsub           = "serviceAccount:service-${local.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    secretmanager    = "serviceAccount:service-${local.project_number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    artifactregistry = "serviceAccount:service-${local.project_number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    functions        = "serviceAccount:service-${local.project_number}@gcf-admin-robot.iam.gserviceaccount.com"
    run              = "serviceAccount:service-${local.project_number}@serverless-robot-prod.iam.gserviceaccount.com"
    eventarc         = "serviceAccount:service-${local.project_number}@gcp-sa-eventarc.iam.gserviceaccount.com"
  }
  key_users = toset(concat(
    ["artifactregistry", "functions", "run"],
    local.pubsub ? ["pubsub"] : [],
    local.create_secret ? ["secretmanager"] : [],
  ))
}

# Cloud Storage's comes first: the project's number, which the others are named by, is read off the state bucket.
resource "google_kms_crypto_key_iam_member" "storage" {
  for_each = {
    for use, key in merge(
      { for use in toset(local.kms ? ["state"] : []) : use => var.kms_key },
      { for name, b in local.buckets : "bucket/${name}" => b.kms_key if b.kms_key != null },
    ) : use => key if var.kms_grants
  }

  crypto_key_id = each.value
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this.member

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = toset([for agent in local.key_users : agent if local.kms && var.kms_grants])

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.agents[each.key]

  depends_on = [google_project_service.this]
}
