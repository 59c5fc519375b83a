package s3bucket

// Reading has each S3 operation behind bucket.Reader, and the IAM action that it needs. The actions are those of the "Service
// Authorization Reference" and of "Multipart upload API and permissions" in AWS's documentation.
var Reading = map[string]string{
	"ListObjectsV2": "s3:ListBucket",
	"GetObject":     "s3:GetObject",
	"HeadObject":    "s3:GetObject",
}

// Writing has those that the rest of bucket.Bucket needs besides.
var Writing = map[string]string{
	"PutObject":               "s3:PutObject",
	"CopyObject":              "s3:PutObject", // and s3:GetObject on its source
	"CreateMultipartUpload":   "s3:PutObject",
	"UploadPart":              "s3:PutObject",
	"CompleteMultipartUpload": "s3:PutObject",
	"AbortMultipartUpload":    "s3:AbortMultipartUpload",
	"DeleteObject":            "s3:DeleteObject",
	"ListMultipartUploads":    "s3:ListBucketMultipartUploads",
}
