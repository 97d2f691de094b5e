"""Terms of pathology captions, version 1: organs, tissues, diagnoses, kinds of cells and of architecture.

A line is a canonical term, and after a colon other forms of it, separated by commas; a term may have several lines. Every form
also matches with a plural ending.
"""

TERMS: dict[str, str] = {
    "organ": """
        adrenal gland: adrenal
        appendix: appendiceal
        bladder: urothelium, urothelial
        bone: osseous, bony
        bone marrow
        brain: cerebral, cerebellum, cerebellar, neuropil, glial
        breast: mammary
        cervix: cervical, endocervical
        colon: colonic, colorectal, bowel, large intestine
        duodenum: duodenal
        esophagus: esophageal, oesophagus
        gallbladder
        kidney: renal
        larynx: laryngeal
        liver: hepatic
        lung: pulmonary
        lymph node: nodal
        ovary: ovarian
        pancreas: pancreatic
        pituitary
        placenta: placental, chorion
        prostate: prostatic
        rectum: rectal
        salivary gland: parotid
        skin: cutaneous, dermis, dermal, epidermis, epidermal
        small intestine: jejunum, ileum, ileal, jejunal
        spleen: splenic
        stomach: gastric
        testis: testicular
        thymus: thymic
        thyroid
        uterus: uterine, endometrium, endometrial, myometrium
    """,
    "tissue": """
        adipose tissue: adipose, fat, fatty tissue
        cartilage: cartilaginous
        collagen: collagenous, collagen-rich
        colloid
        connective tissue: connective
        epithelium: epithelial
        extracellular matrix
        fibrin: fibrinous
        glandular tissue: gland, glandular, acinus, acini, acinar
        keratin: keratinization, keratinized, keratin pearl
        lamina propria
        lymphoid tissue: lymphoid follicle, lymphoid
        mucin: mucinous, mucus
        mucosa: mucosal
        nerve: neural
        smooth muscle: muscularis, muscularis propria
        stroma: stromal
        submucosa: submucosal
        vessel: blood vessel, capillary, capillaries, vascular, vasculature
    """,
    "diagnosis": """
        abscess
        anthracosis: anthracotic
        cholesteatoma
        chorioamnionitis
        melanosis
        molluscum contagiosum
        oncocytoma
        parasite: giardiasis, giardia, isospora, enterobius, parasitic
        adenocarcinoma
        adenoma: adenomatous
        atrophy: atrophic
        atypia: atypical
        benign: non-neoplastic, non-malignant
        carcinoma in situ: dcis, in situ
        carcinoma: carcinomatous
        cholecystitis
        cirrhosis: cirrhotic
        colitis
        congestion
        crohn disease: crohn's disease
        cyst: cystic
        dysplasia: dysplastic
        edema: oedema, edematous
        endometriosis
        fibroadenoma
        fibrosis: fibrotic
        gastritis
        glioblastoma
        glioma: astrocytoma, oligodendroglioma
        granuloma: granulomatous
        hamartoma: hamartomatous
        hemorrhage: haemorrhage, bleeding, hemorrhagic
        hepatitis
        hepatocellular carcinoma
        high-grade: high grade
        hyperplasia: hyperplastic
        infection: infectious
        inflammation: inflammatory, inflamed
        invasion: invasive, infiltrating
        ischemia: ischemic
        leiomyoma
        leiomyosarcoma
        lipoma
        low-grade: low grade
        lymphoma
        malignancy: malignant, cancer, cancerous
        melanoma
        meningioma
        mesothelioma
        metaplasia: metaplastic
        metastasis: metastatic, metastases
        necrosis: necrotic
        neoplasm: neoplastic, neoplasia, tumor, tumour, tumoral
        nephritis: glomerulonephritis
        neuroendocrine tumor: neuroendocrine, carcinoid
        papilloma
        pneumonia
        polyp: polypoid
        renal cell carcinoma
        sarcoma: sarcomatoid
        schwannoma
        seminoma
        squamous cell carcinoma
        steatosis: steatotic
        teratoma
        thrombus: thrombosis
        ulcer: ulceration, ulcerated
        urothelial carcinoma
    """,
    "cell": """
        adipocyte: fat cell
        endothelial cell: endothelial, endothelium
        eosinophil
        epithelial cell
        fibroblast: myofibroblast
        giant cell: multinucleated, multinucleated giant cell
        goblet cell
        hepatocyte
        lymphocyte: lymphocytic
        macrophage: histiocyte, foamy macrophage
        neuron
        neutrophil: neutrophilic
        plasma cell
        pneumocyte
        signet ring cell
        spindle cell: spindle-shaped, spindle-shaped cell, spindle
        squamous cell: squamous
        stromal cell
        tumor cell: neoplastic cell, malignant cell, cancer cell
    """,
    "architecture": """
        alveolus: alveolar, alveoli
        basally oriented nucleus: basally oriented, basally located
        clear cytoplasm: clear cell
        columnar
        cribriform
        crypt
        cuboidal
        desmoplasia: desmoplastic
        disorganized architecture: disorganized, disorganised, disorganization, disrupted architecture, disrupted
        disorganized architecture: architectural distortion
        duct: ductal, duct-like
        enlarged nucleus: enlarged nuclei
        eosinophilic cytoplasm
        fascicle: fascicular
        follicle: follicular, thyroid follicle
        glomerulus: glomeruli, glomerular
        high cellularity: hypercellular, increased cellularity, densely cellular
        hyperchromasia: hyperchromatic, hyperchromatic nucleus, hyperchromatic nuclei
        increased nuclear-to-cytoplasmic ratio: nuclear-to-cytoplasmic ratio, nucleus-to-cytoplasm ratio, n/c ratio
        increased nuclear-to-cytoplasmic ratio: high nuclear-to-cytoplasmic ratio
        lumen: luminal, lumina
        mitosis: mitoses, mitotic, mitotic figure, mitotic activity
        myxoid
        nest: nested
        nucleolus: nucleoli, prominent nucleoli, prominent nucleolus
        papillary: papilla, papillae
        pleomorphism: pleomorphic, nuclear pleomorphism
        sheet
        sinusoid: sinusoidal
        stratification: stratified, pseudostratified
        tubule: tubular
        vacuole: vacuolated, vacuolation
        well-differentiated: well differentiated
        poorly differentiated: poorly-differentiated, undifferentiated
    """,
}

DENIALS = (
    "no", "not", "without", "absence of", "absent", "lack of", "lacks", "lacking", "negative for", "free of", "free from",
    "nor", "neither", "rather than", "ruled out", "devoid of", "excludes", "excluding", "rules out", "instead of",
)  # fmt: skip
"""Deny the terms after them in the clause."""

DENIALS_AFTER = (
    "is absent", "are absent", "not seen", "not observed", "not identified", "not evident", "not present", "not apparent",
    "is lacking", "are lacking", "is excluded", "is unlikely", "are not visible", "is not visible",
)  # fmt: skip
"""Deny the terms before them in the clause."""

CLAUSE_ENDS = (
    "but", "however", "although", "though", "while", "whereas", "which", "except", "yet", "with", "suggest", "suggests",
    "suggesting", "indicate", "indicates", "indicating", "support", "supports", "supporting",
)  # fmt: skip
"""Begin another clause, which nothing before them governs."""
